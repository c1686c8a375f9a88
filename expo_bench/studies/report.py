"""The page of a study: learning curves, verdicts, the base's candidate positives, samples side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expo_bench.grading.judge import GRADER
from expo_bench.reports.figures.canvas import Drawing
from expo_bench.reports.figures.learning_figures import Curve, CurvePanel, learning_curves
from expo_bench.reports.figures.ledger_figures import draw_ledger
from expo_bench.reports.figures.run_figures import Estimate
from expo_bench.reports.figures.svg import standalone
from expo_bench.reports.pages import figure, page_link, render
from expo_bench.reports.reporting import chains_section
from expo_bench.reports.run_views import manifest_groups, read_runs
from expo_bench.reports.side_by_side import side_by_side
from expo_bench.reports.tables import MISSING, Cell, Row, Table, as_markdown
from expo_bench.reports.terminal import TerminalTable
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder
from expo_bench.studies.learning_curves import Point
from expo_bench.studies.study import Run
from expo_bench.studies.tables import (
    arms,
    budgets,
    by_problems,
    end_table,
    equal_table,
    last,
    ledger_table,
    level_tables,
    paper_table,
    spend_alike,
    verdicts,
)

MOST_ARMS = 6
"""Curves of a figure that are still told apart; more make a second figure, which repeats the first arm."""


def study_report(
    runs: Sequence[Run],
    points: Sequence[Point],
    out: Path,
    title: str,
    ledger: Mapping[str, Any] | None = None,
    *,
    candidates: RunFolder | None = None,
) -> Path:
    """Write the page, and its figures in the folder `figures` beside it.

    Args:
        runs: the finished ones; their recipes, samples and manifests are shown.
        points: of their learning curves.
        out: the page.
        title: its heading.
        ledger: content of the ledger of their last checkpoints.
        candidates: run folder of the base's candidates, scored.
    """
    drawn = study_figures(points)
    chained, chain_figures = chains_section(candidates) if candidates else (None, [])
    for drawing in [*drawn, *chain_figures]:
        write_atomically(out.parent / "figures" / f"{drawing.name}.svg", standalone(drawing.wide))
    firsts = _first_seeds(runs)
    context = {
        "title": title,
        "lead": _lead(points, ledger),
        "facts": _facts(runs),
        "pages": _pages(runs, out.parent),
        "figures": [figure(one) for one in drawn],
        "table_data": end_table(points, verdicts(ledger or {})),
        "equal": equal_table(points),
        "levels": level_tables(points),
        "paper": paper_table(),
        "ledger": _ledger(ledger, arms(points)) if ledger else None,
        "chained": chained,
        "problems": side_by_side(candidates, _ends(firsts)) if candidates else [],
        "recipes": _recipes(firsts),
        "manifests": _manifests(firsts),
    }
    write_atomically(out, render("study.html.j2", context))
    return out


def study_figures(points: Sequence[Point]) -> list[Drawing]:
    """Return the learning curves, at most MOST_ARMS arms a figure, of one set of problems; a notebook shows each.

    They run along generated tokens where the arms do not all spend about as many, else along steps.
    """
    groups = []
    for group in by_problems(points).values():
        first, *rest = arms(group)
        starts = range(0, max(1, len(rest)), MOST_ARMS - 1)
        groups += [(group, [first, *rest[at : at + MOST_ARMS - 1]]) for at in starts]
    caption = "Share of held-out problems that are solved, 95% bands for problems and seeds like these."
    if any(len(point.per_seed) > 1 for point in points):
        caption += " Thin lines are the seeds."
    return [
        learning_curves(f"learning_curves_{number}", "learning curves", _panels(group, listed), caption)
        for number, (group, listed) in enumerate(groups, start=1)
    ]


def study_table(points: Sequence[Point]) -> TerminalTable:
    """Return the terminal's table: what each arm solves after its last step, best first, in percent."""
    # the values of the seeds are in the interval too
    return TerminalTable(end_table(points), spare=[1])


def study_markdown(points: Sequence[Point], ledger: Mapping[str, Any] | None = None) -> str:
    """Return the page's tables in Markdown: what each arm solves in the end, and at equal generated tokens.

    Args:
        points: of all arms.
        ledger: content of the study's ledger, for the arms' verdicts.
    """
    tables = [end_table(points, verdicts(ledger or {})), equal_table(points)]
    return "\n".join(as_markdown(one) for one in tables if one is not None)


def zero_reward_table(points: Sequence[Point]) -> TerminalTable:
    """Return, by arm and checkpoint, the percent of training groups since the one before without a right rollout."""
    shares = {(one.arm, one.step): one.value for one in points if one.metric == "groups all wrong"}
    steps = sorted({step for _, step in shares})
    caption = "Percent of training groups without a right rollout, up to this step since the one before; mean of seeds."
    rows = []
    for arm in dict.fromkeys(arm for arm, _ in shares):
        found = [shares.get((arm, step)) for step in steps]
        cells = [Cell(text=MISSING if share is None else f"{100 * share:.0f}") for share in found]
        rows.append(Row(label=arm, cells=cells))
    return TerminalTable(Table(caption=caption, head=["Arm", *map(str, steps)], rows=rows))


def _panels(points: Sequence[Point], group: Sequence[str]) -> list[CurvePanel]:
    by_tokens = not spend_alike(points) and all(budgets(points).values())
    along = "thousands of generated tokens" if by_tokens else "optimizer steps"
    panels = []
    for metric in ("pass@1", "pass@8"):
        curves = []
        for arm in group:
            listed = [one for one in points if (one.arm, one.metric, one.level) == (arm, metric, None)]
            at = [one.generated_tokens / 1000 if by_tokens else float(one.step) for one in listed]
            found = [Estimate(one.value, one.ci_low or 0.0, one.ci_high or 0.0) for one in listed]
            seeds = zip(*(one.per_seed for one in listed), strict=False)
            if listed:
                lines = tuple(dict(zip(at, values, strict=True)) for values in seeds)
                curves.append(Curve(arm=arm, points=dict(zip(at, found, strict=True)), seeds=lines))
        if curves:
            panels.append(CurvePanel(title=metric, curves=tuple(curves), along=along))
    return panels


def _lead(points: Sequence[Point], ledger: Mapping[str, Any] | None) -> str:
    """Say what is solved before training, and by the best arms after it, each with its verdict."""
    kinds: dict[str, list[str]] = {}
    for one in ledger["comparisons"] if ledger else ():
        kinds.setdefault(one.get("arm", one["trained"]), []).append(one["verdict"]["kind"])
    firsts = [point for point in points if point.metric == "pass@1" and point.step == 0 and point.level is None]
    shares = sorted({f"{100 * point.value:.1f}" for point in firsts}, key=float)
    # arms that are evaluated on different problems begin at different places
    before = f"{shares[0]} to {shares[-1]}%" if len(shares) > 1 else f"{shares[0]}%"
    ends = sorted((last(points, arm)["pass@1"] for arm in arms(points)), key=lambda point: -point.value)
    after = "; ".join(
        f"{100 * point.value:.1f}% with {point.arm}" + _in_brackets(kinds.get(point.arm, [])) for point in ends[:4]
    )
    return f"Before training {before} of samples are correct. After {ends[0].step} steps: {after}."


def _in_brackets(kinds: Sequence[str]) -> str:
    """Return the verdicts of an arm's seeds, each said once."""
    return f" ({', '.join(dict.fromkeys(kinds))})" if kinds else ""


def _ledger(content: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the cells and the verdicts of all arms, and pass@k and flows of the first ones, in the arms' colours."""
    sections = []
    left = list(dict.fromkeys(section.get("arm") for section in content["comparisons"]))[:MOST_ARMS]
    for number, section in enumerate(content["comparisons"], start=1):
        drawn, arm = [], section.get("arm")
        if arm in left:
            # of an arm's seeds the first
            left.remove(arm)
            drawn = draw_ledger(section, f"study_ledger_{number}", names.index(arm) if arm in names else number - 1)
        shown = [figure(one) for one in drawn if one.name.endswith(("_curves", "_flows"))]
        verdict = section["verdict"]
        title = f"{section['trained']}: {verdict['kind']}"
        sections.append({"title": title, "sentence": verdict["sentence"], "figures": shown})
    caveats = dict.fromkeys(
        caveat for section in content["comparisons"] for caveat in section["verdict"].get("caveats", [])
    )
    notes = [one["sentence"] for one in content.get("methods", [])] + content.get("notes", [])
    return {"table": ledger_table(content), "sections": sections, "caveats": list(caveats), "notes": notes}


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return what the arms share, where they do."""
    told: dict[str, set[str]] = {}
    for run in runs:
        recipe = run.recipe
        levels = "all levels" if recipe.levels is None else f"level {', '.join(map(str, recipe.levels))}"
        told.setdefault("policy", set()).add(recipe.model)
        told.setdefault("trained on", set()).add(f"{recipe.benchmark}, {levels}")
        told.setdefault("steps", set()).add(f"{recipe.steps} of {recipe.prompts_per_step} problems")
        told.setdefault("learning rate", set()).add(f"{recipe.learning_rate:g}")
    arms_and_seeds = ("arms and seeds", f"{len({run.arm for run in runs})} and {len({run.seed for run in runs})}")
    return [arms_and_seeds, *((name, "; ".join(sorted(values))) for name, values in told.items())] if runs else []


def _pages(runs: Sequence[Run], here: Path) -> list[dict[str, Any]]:
    """Return the pages of each run: its training's, and its checkpoints' reports."""
    found = []
    for run in runs:
        folder = run.folder
        named = [("training", folder.path / "report.html")]
        for step in [0, *folder.checkpoints()]:
            name = f"checkpoint {step}" if step else "before training"
            named.append((name, folder.evaluation(step).report_path))
        links = [(name, page_link(page, here)) for name, page in named if page.is_file()]
        if links:
            found.append({"name": f"{run.arm}, seed {run.seed}", "links": links})
    return found


def _first_seeds(runs: Sequence[Run]) -> dict[str, Run]:
    firsts: dict[str, Run] = {}
    for run in runs:
        firsts.setdefault(run.arm, run)
    return firsts


def _ends(firsts: Mapping[str, Run]) -> list[tuple[str, RunFolder]]:
    found = []
    for arm, run in firsts.items():
        folder = run.folder.evaluation(max(run.folder.checkpoints(), default=0))
        if folder.metrics_path.is_file():
            found.append((arm, folder))
    return found


def _recipes(firsts: Mapping[str, Run]) -> list[dict[str, str]]:
    return [
        {"arm": arm, "text": run.folder.recipe_path.read_text(encoding="utf-8")}
        for arm, run in firsts.items()
        if run.folder.recipe_path.is_file()
    ]


def _manifests(firsts: Mapping[str, Run]) -> list[dict[str, Any]]:
    """Return the manifest of the base's evaluation, and those of other bases or protocols among the arms."""
    shown = []
    seen = set()
    for arm, run in firsts.items():
        folder = run.folder.evaluation(0)
        if folder.metrics_path.is_file():
            [view] = read_runs([folder], GRADER)
            key = (view.manifest.protocol_hash, view.manifest.model.get("weights_digest"))
            if key not in seen:
                seen.add(key)
                shown.append({"title": f"Evaluation of the base ({arm})", "groups": manifest_groups(view)})
    return shown
