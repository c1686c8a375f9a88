"""The metrics of runs as the figures of an evaluation report."""

from collections.abc import Sequence

from expo_bench.reports.figures import run_figures as figures
from expo_bench.reports.figures.canvas import Drawing, beyond_words
from expo_bench.reports.figures.run_figures import BarRow, Estimate, Line, Panel, StackRow
from expo_bench.reports.result_tables import STATUS_WORDS, common_ks, shown_subsets
from expo_bench.reports.run_views import RunView
from expo_bench.reports.tables import ALL, Subset
from expo_bench.rows import STATUSES, Metric


def draw(runs: Sequence[RunView]) -> list[Drawing]:
    """Draw what the runs have metrics for: pass@k curves, bars by level, statuses by level."""
    drawn = [_pass_at_k(runs), _levels(runs), _statuses(runs)]
    return [drawing for drawing in drawn if drawing is not None]


def _pass_at_k(runs: Sequence[RunView]) -> Drawing | None:
    main = _panel(runs, ALL)
    if all(len(line.points) < 2 for line in main.lines):
        return None
    # levels of one benchmark, or else benchmarks
    panels = [_panel(runs, subset) for subset, depth in shown_subsets(runs) if depth == 1]
    small = [panel for panel in panels if panel.lines]
    caption = "Chance that at least one of k samples is correct, with 95% bands for problems like these."
    if len(runs) == 1 and main.lines[0].beyond:
        caption += " " + beyond_words(max(main.lines[0].beyond))
    if small:
        caption += " The small panels share one scale."
    return figures.pass_at_k(main, small, caption)


def _levels(runs: Sequence[RunView]) -> Drawing | None:
    subsets = shown_subsets(runs)
    if len(subsets) == len(runs) == 1:
        return None
    best = max((k for k in common_ks(runs) if k > 1), default=None)
    rows = [BarRow(label=s.label, depth=d, bars=tuple(_bar(run, s, best) for run in runs)) for s, d in subsets]
    caption = "Bars: mean share of correct samples (avg@n)" + (f"; diamonds: pass@{best}." if best else ".")
    names = ["avg@n", f"pass@{best}"] if best else ["avg@n"]
    caption += " Lines are 95% intervals for problems like these."
    return figures.levels(rows, [run.name for run in runs], [run.letter for run in runs], names, caption)


def _statuses(runs: Sequence[RunView]) -> Drawing:
    subsets = shown_subsets(runs)
    rows = [StackRow(label=s.label, depth=d, shares=tuple(_shares(run, s) for run in runs)) for s, d in subsets]
    caption = "Share of samples, %, by what became of them; correct and wrong are those with an answer to grade."
    if len(runs) > 1:
        caption += f" From top to bottom in each row: {'; '.join(run.name for run in runs)}."
    return figures.statuses(rows, [run.letter for run in runs], STATUS_WORDS, caption)


def _estimate(metric: Metric | None) -> Estimate | None:
    if metric is None or metric.value is None:
        return None
    low = metric.value if metric.ci_low is None else metric.ci_low
    high = metric.value if metric.ci_high is None else metric.ci_high
    return Estimate(metric.value, low, high)


def _panel(runs: Sequence[RunView], subset: Subset) -> Panel:
    lines = []
    for run in runs:
        found = {k: _estimate(run.metrics.get(name, subset)) for k, name in run.metrics.pass_ks.items()}
        points = {k: estimate for k, estimate in found.items() if estimate is not None}
        farther = {k: _estimate(run.metrics.get(name, subset)) for k, name in run.metrics.forecast_ks.items()}
        beyond = {k: estimate for k, estimate in farther.items() if estimate is not None}
        if points:
            lines.append(Line(label=run.name, series=run.position, points=points, beyond=beyond))
    return Panel(title=subset.label, lines=tuple(lines))


def _bar(run: RunView, subset: Subset, best: int | None) -> tuple[Estimate | None, Estimate | None]:
    metrics = run.metrics
    last = None if best is None else _estimate(metrics.get(f"pass@{best}", subset))
    return _estimate(metrics.get(metrics.average, subset)), last


def _shares(run: RunView, subset: Subset) -> dict[str, float]:
    metric = run.metrics.get(run.metrics.average, subset)
    if metric is None or metric.value is None or not metric.n_samples:
        return {}
    shares: dict[str, float] = {status: metric.counts.get(status, 0) / metric.n_samples for status in STATUSES}
    graded = shares.pop("graded")
    correct = min(metric.value, graded)
    return {"correct": correct, "wrong": graded - correct, **shares}
