"""The tables of an evaluation report: what was run, results, shares by status, all metrics."""

from collections.abc import Sequence

from expo_bench.reports.figures.svg import N_SERIES
from expo_bench.reports.run_views import RunView, facts, samples_per_problem
from expo_bench.reports.tables import ALL, TARGETS, Cell, Row, Subset, Table, heading, metric_cell, outline, spread_ks
from expo_bench.rows import STATUSES

MOST_SUBSETS = 30
STATUS_WORDS = {
    "correct": "correct",
    "wrong": "wrong",
    "no_answer": "no answer",
    "truncated": "truncated",
    "timeout": "grading timed out",
    "error": "engine error",
    "bad_gold": "unreadable gold answer",
    "copied": "copied from the problem",
}
_THOUGHT_WORDS = {
    "thought": "samples with one",
    "thought_whole": "tags in order",
    "thought_unended": "cut off in it",
    "thought_tokens": "tokens",
    "thought_tokens|right": "of right samples",
    "thought_tokens|other": "of others",
    "reflections": "reflections",
    "reflections|right": "of right samples",
    "reflections|other": "of others",
}


def shown_subsets(runs: Sequence[RunView]) -> list[tuple[Subset, int]]:
    """Return the subsets that figures and short tables have rows for, with their depth."""
    return outline([run.metrics for run in runs])[:MOST_SUBSETS]


def common_ks(runs: Sequence[RunView]) -> list[int]:
    """Return the values of k that all runs have pass@k for."""
    return sorted(set.intersection(*(set(run.metrics.pass_ks) for run in runs)))


def what_was_run(runs: Sequence[RunView], grader: str) -> Table:
    """Return the facts down, the runs across."""
    columns = [facts(run, grader) for run in runs]
    rows = [
        Row(label=pairs[0][0], cells=[Cell(text=value) for _, value in pairs]) for pairs in zip(*columns, strict=True)
    ]
    return Table(caption="Each run", head=["", *(run.name for run in runs)], rows=rows, wordy=True)


def result_tables(runs: Sequence[RunView]) -> list[Table]:
    """Return headline, second number, pass@k, maj@n and shares: a table for each benchmark with a row for each run.

    Several benchmarks have a table of all together first. One run has one table with a row for each benchmark, or none
    where it has a single benchmark.
    """
    benchmarks = sorted({name for run in runs for name in run.metrics.benchmarks})
    subsets = [ALL, *(Subset(name) for name in benchmarks)] if len(benchmarks) > 1 else [ALL]
    if len(runs) == 1:
        rows = [_result_row(runs[0], subset, runs) for subset in subsets]
        return [_result_table("Benchmarks", rows, runs)] if len(subsets) > 1 else []
    tables = [(subset.label, [_result_row(run, subset, runs) for run in runs]) for subset in subsets]
    return [_result_table(label, rows, runs) for label, rows in tables]


def _result_row(run: RunView, subset: Subset, runs: Sequence[RunView]) -> Row | None:
    metrics = run.metrics
    names = [metrics.average, metrics.average_graded, *(f"pass@{k}" for k in spread_ks(common_ks(runs)))]
    names += [metrics.majority, "truncated", "no_answer", "tokens"]
    found = [metrics.get(name, subset) for name in names]
    if not any(found):
        return None
    counted = next(metric.n_problems for metric in found if metric)
    cells = [Cell(text=f"{counted:,}"), Cell(text=samples_per_problem(run)), *map(metric_cell, found)]
    several = len(runs) > 1
    return Row(
        label=run.name if several else subset.label,
        depth=0 if several or subset == ALL else 1,
        cells=cells,
        series=run.position % N_SERIES if several else None,
    )


def _result_table(label: str, rows: Sequence[Row | None], runs: Sequence[RunView]) -> Table:
    head = ["", "problems", "n", "avg@n", "avg@n, graded only", *(f"pass@{k}" for k in spread_ks(common_ks(runs)))]
    head += ["maj@n", "truncated", "no answer", "tokens"]
    caption = f"{label}: percent; n is the number of samples per problem. {TARGETS}"
    return Table(caption=caption, head=head, rows=[row for row in rows if row is not None])


def share_table(run: RunView, subsets: Sequence[tuple[Subset, int]]) -> Table:
    """Return the shares of the samples that could not be graded, a row for each subset."""
    names = [*(status for status in STATUSES if status != "graded"), "length_limit", "tokens"]
    names = [
        name for name in names if name in ("truncated", "no_answer", "length_limit", "tokens") or _occurs(run, name)
    ]
    head = ["", *(STATUS_WORDS.get(name, heading(name)) for name in names)]
    head = ["ended at the length limit" if name == "length limit" else name for name in head]
    caption = f"Share of samples without a gradable answer, %; tokens are means. {TARGETS}"
    return _by_subset(run, subsets, names, caption, head)


def thought_table(run: RunView, subsets: Sequence[tuple[Subset, int]]) -> Table | None:
    """Return what the thoughts of the samples are like, a row for each subset; None where no sample thinks."""
    names = [name for name in _THOUGHT_WORDS if name in run.metrics.names]
    if not names:
        return None
    caption = f"Thoughts: shares in percent, the others means; the solution is what is graded. {TARGETS}"
    return _by_subset(run, subsets, names, caption, ["", *(_THOUGHT_WORDS[name] for name in names)])


def _by_subset(
    run: RunView, subsets: Sequence[tuple[Subset, int]], names: Sequence[str], caption: str, head: list[str]
) -> Table:
    rows = []
    for subset, depth in subsets:
        found = [run.metrics.get(name, subset) for name in names]
        if any(found):
            rows.append(Row(label=subset.label, depth=depth, cells=[metric_cell(metric) for metric in found]))
    caption = f"{run.name}: {caption[0].lower()}{caption[1:]}" if run.letter else caption
    return Table(caption=caption, head=head, rows=rows)


def _occurs(run: RunView, name: str) -> bool:
    metric = run.metrics.get(name)
    return metric is not None and bool(metric.value)


def metrics_table(run: RunView) -> Table:
    """Return every metric of every subset."""
    rows = []
    names = run.metrics.names
    for subset in run.metrics.subsets:
        found = [run.metrics.get(name, subset) for name in names]
        counted = next(metric for metric in found if metric)
        label = subset.label
        if subset.field is not None and len(run.metrics.benchmarks) > 1:
            label = f"{subset.benchmark}: {label}"
        counts = [Cell(text=f"{counted.n_problems:,}"), Cell(text=f"{counted.n_samples:,}")]
        rows.append(Row(label=label, cells=[*counts, *map(metric_cell, found)]))
    head = ["Subset", "problems", "samples", *map(heading, names)]
    return Table(caption=f"{run.name}: {len(names)} metrics on {len(rows)} subsets", head=head, rows=rows)
