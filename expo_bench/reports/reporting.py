"""The last stage: run folders in, one self-contained HTML page and its figures out."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expo_bench.grading.disagreement import disagreements
from expo_bench.grading.misread import misread
from expo_bench.reports import excerpts
from expo_bench.reports.figures import drawings
from expo_bench.reports.figures.canvas import Drawing
from expo_bench.reports.figures.heat import read_heat, step_labels
from expo_bench.reports.figures.likelihood_figures import draw_chains
from expo_bench.reports.figures.svg import standalone
from expo_bench.reports.likelihood_views import (
    ChainsView,
    chain_facts,
    filter_table,
    lead,
    property_table,
    read_chains,
    run_view,
    title,
)
from expo_bench.reports.pages import figure, render, study_above
from expo_bench.reports.result_tables import (
    metrics_table,
    result_tables,
    share_table,
    shown_subsets,
    thought_table,
    what_was_run,
)
from expo_bench.reports.run_views import Note, RunView, date_text, facts, manifest_groups, model_name, notes, read_runs
from expo_bench.reports.sample_views import problem_views
from expo_bench.reports.tables import TARGETS, metric_cell, value_text
from expo_bench.reports.terminal import TerminalTable, metric_table
from expo_bench.rows import Metric
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder


def report(runs: Sequence[RunFolder], out: Path, *, grader: str) -> Path:
    """Write the report of one run, or of several side by side, and its figures in the folder `figures` beside it.

    Runs whose candidates were scored have a section each; evaluations are compared. The page depends on the run
    folders alone, and on the tokenizer that decodes a scored run's tokens: the same give the same bytes.

    Raises:
        UserError: there is no run, or one has neither metrics of this grader nor scored candidates.
    """
    scored = [run for run in runs if _has_chains(run)]
    evaluated = [run for run in runs if run not in scored or run.metrics_path.is_file()]
    chained = [(view, draw_chains(view)) for view in read_chains(scored)]
    views = read_runs(evaluated, grader) if evaluated or not chained else []
    drawn = drawings.draw(views) if views else []
    sections = [_chains_context(view, own, named=len(runs) > 1) for view, own in chained]
    study = study_above(out.parent) if len(runs) == 1 and out == runs[0].report_path else ""
    if views:
        page = render("report.html.j2", {**_context(views, drawn, grader), "chained": sections, "study": study})
    else:
        page = render("candidates.html.j2", _candidates_context([view for view, _ in chained], sections))
    for drawing in [*drawn, *(one for _, own in chained for one in own)]:
        write_atomically(out.parent / "figures" / f"{drawing.name}.svg", standalone(drawing.wide))
    write_atomically(out, page)
    return out


def chains_section(run: RunFolder) -> tuple[dict[str, Any], list[Drawing]]:
    """Return what the template of scored candidates shows of one run, and the figures in it.

    Raises:
        UserError: the run has no scored candidates.
    """
    [view] = read_chains([run])
    drawn = draw_chains(view)
    return _chains_context(view, drawn, named=False), drawn


def likelihood_figures(run: RunFolder) -> list[Drawing]:
    """Return the figures of a run with scored candidates; a notebook shows each.

    Raises:
        UserError: the run has no scored candidates.
    """
    [view] = read_chains([run])
    return draw_chains(view)


def table(metrics: Sequence[Metric], *, title: str) -> TerminalTable:
    """Return the terminal's table: benchmarks and levels down, avg@n, pass@k, maj@n and shares across, in percent."""
    return metric_table(metrics, title=title)


def _context(runs: Sequence[RunView], drawn: Sequence[Drawing], grader: str) -> dict[str, Any]:
    several = len(runs) > 1
    chosen = excerpts.draw([run.folder for run in runs], grader)
    figures = _figures(drawn)
    return {
        "title": _title(runs),
        "date": date_text(max(run.manifest.started for run in runs)),
        "lead": _lead(runs),
        "notes": [*notes(runs), *_not_understood(runs, grader)],
        "paired": _paired(runs),
        "tiles": [] if several else tiles(runs[0]),
        "run_facts": facts(runs[0], grader),
        "what_was_run": what_was_run(runs, grader) if several else None,
        "results": result_tables(runs),
        "figures": {name: figures.get(name) for name in ("pass_at_k", "levels", "statuses")},
        "shares": [share_table(run, shown_subsets(runs)) for run in runs],
        "thoughts": list(filter(None, (thought_table(run, shown_subsets(runs)) for run in runs))),
        "metrics": [metrics_table(run) for run in runs],
        "problems": problem_views(chosen, runs),
        "drawn": excerpts.describe(chosen),
        "targets": TARGETS,
        "benchmarks": sorted({read.problem.benchmark for read in chosen}),
        "levels": sorted({read.problem.level for read in chosen if read.problem.level is not None}),
        "manifests": [{"title": run.name, "groups": manifest_groups(run)} for run in runs],
    }


def _not_understood(runs: Sequence[RunView], grader: str) -> list[Note]:
    """Return what the grader could not read, and where others judge otherwise, for runs whose samples are at hand."""
    found = []
    for run in runs:
        report = misread(run.folder, grader) if grader in run.folder.graders() else None
        lines = report.lines() if report else []
        lines += [(one.text(), one.examples) for one in disagreements(run.folder, grader)]
        for text, examples in lines:
            found.append(Note(text=f"{run.name}: {text}" if len(runs) > 1 else text, items=examples))
    return found


def _paired(runs: Sequence[RunView]) -> str:
    """Return the command that tells whether runs on the same problems differ; nothing for one run."""
    if len(runs) < 2:
        return ""
    return "expo-bench compare " + " ".join(shlex.quote(str(run.folder.path)) for run in runs)


def _has_chains(run: RunFolder) -> bool:
    return run.likelihood_metrics_path.is_file() or (run.candidates_path.is_file() and not run.metrics_path.is_file())


def _figures(drawn: Sequence[Drawing], prefix: str = "") -> dict[str, dict[str, str]]:
    return {drawing.name.removeprefix(prefix): figure(drawing) for drawing in drawn}


def _chains_context(view: ChainsView, drawn: Sequence[Drawing], *, named: bool) -> dict[str, Any]:
    # the main policy's table is open, the others are folded below it
    policies = [view.main, *(policy for policy in view.policies if policy != view.main)]
    figures = _figures(drawn, view.prefix)
    return {
        "prefix": view.prefix,
        "name": view.name,
        "named": named,
        "lead": lead(view),
        "facts": chain_facts(view),
        "tables": [property_table(view, policy) for policy in policies],
        "filters": filter_table(view),
        "figures": {name: figures.get(name) for name in ("likelihood_by_source", "two_properties", "drift")},
        "heat": read_heat(view),
        "heat_steps": step_labels(),
    }


def _candidates_context(views: Sequence[ChainsView], sections: Sequence[dict[str, Any]]) -> dict[str, Any]:
    runs = [run_view(view) for view in views]
    several = len(views) > 1
    return {
        "title": f"Candidates of {len(views)} runs" if several else title(views[0]),
        "date": date_text(max(view.manifest.started for view in views)),
        "lead": "Each run by itself." if several else lead(views[0]),
        "notes": [note for run in runs for note in notes([run])],
        "chained": sections,
        "manifests": [{"title": run.name, "groups": manifest_groups(run)} for run in runs],
    }


def _title(runs: Sequence[RunView]) -> str:
    benchmarks = _listed(list(dict.fromkeys(name for run in runs for name in run.manifest.benchmarks)))
    if len(runs) == 1:
        return f"{model_name(runs[0].manifest)} on {benchmarks}"
    models = list(dict.fromkeys(model_name(run.manifest) for run in runs))
    return (
        f"{models[0]}, {len(runs)} runs, on {benchmarks}" if len(models) == 1 else f"{len(runs)} runs on {benchmarks}"
    )


def _listed(names: Sequence[str]) -> str:
    *first, last = names or ["no benchmark"]
    return f"{', '.join(first)} and {last}" if first else last


def _lead(runs: Sequence[RunView]) -> str:
    """Say the result in a sentence or two."""
    if len(runs) > 1:
        shares = [(value_text(run.metrics.get(run.metrics.average)), run.name) for run in runs]
        if len(runs) > 4:
            return f"{len(runs)} runs side by side."
        first, *rest = (f"{share}% for {name}" for share, name in shares)
        return f"Share of correct samples: {first}{''.join(f', {part}' for part in rest)}."
    metrics = runs[0].metrics
    average, ks = metrics.get(metrics.average), metrics.pass_ks
    if average is None:
        return "The run has no avg@n."
    sentence = f"{value_text(average)}% of {average.n_samples:,} samples of {average.n_problems:,} problems are correct"
    if ks and max(ks) > 1:
        solved = metrics.get(ks[max(ks)])
        return f"{sentence}, and {value_text(solved)}% of the problems are solved at least once in {max(ks)} samples."
    return sentence + "."


def tiles(run: RunView) -> list[dict[str, str]]:
    """Return the headline numbers of one run."""
    metrics, ks = run.metrics, run.metrics.pass_ks
    average = metrics.get(metrics.average)
    chosen = [(metrics.average, "Correct", "Headline. Every sample that is not a correct answer counts as wrong.")]
    if average is not None:
        left_out = average.n_samples - average.counts.get("graded", 0)
        what = f"Leaves out the {left_out:,} of {average.n_samples:,} samples that could not be graded."
        chosen.append((metrics.average_graded, "Correct, of the graded", what))
    if ks and max(ks) > 1:
        chosen.append((ks[max(ks)], "Solved", f"Problems solved at least once in {max(ks)} samples."))
    no_answer = value_text(metrics.get("no_answer"))
    what = f"Cut off at the token limit before an answer. A further {no_answer}% ended without one."
    chosen.append(("truncated", "Truncated", what))
    found = []
    for name, label, what in chosen:
        cell = metric_cell(metrics.get(name))
        shown = "" if name is None or name == "truncated" else f" ({name.partition('|')[0]})"
        found.append(
            {"label": label + shown, "value": cell.text, "interval": cell.interval, "these": cell.these, "what": what}
        )
    return found
