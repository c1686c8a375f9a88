"""The figures of scored candidates: how likely each source is, the two properties, and their drift over policies.

Log-probabilities per token span from -20 to -0.0001 in one figure, so their axis is that of -log p on a log scale,
turned round: to the right, and up, is likelier.
"""

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expo_bench.reports.figures.canvas import (
    MARKERS,
    WIDE,
    Drawing,
    axes_at,
    clip,
    draw_twice,
    legend_places,
    new_figure,
    pixel_across,
    write,
    write_legend,
)
from expo_bench.reports.figures.svg import colour
from expo_bench.reports.likelihood_views import (
    SOURCE_WORDS,
    ChainsView,
    ScoredCandidate,
    number,
    policy_label,
    subset_label,
)
from expo_bench.reports.tables import Subset
from expo_bench.rows import SOURCES, LikelihoodMetric, Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 1000
MOST_SUBSETS = 12
FLOOR = 1e-5
"""Nats per token; what is likelier stands at the end of the axis."""
_MARKERS: dict[Source, str] = dict(zip(SOURCES, MARKERS, strict=True))
_PERCENTILES = (5, 25, 50, 75, 95)


def draw_chains(view: ChainsView) -> list[Drawing]:
    """Draw the likelihood by source, the two-property plane, and the drift where there are several policies."""
    drawn = [_spread(view), _plane(view)]
    return [*drawn, _drift(view)] if len(view.policies) > 1 else drawn


def place(logprob: float) -> float:
    """Return where a log-probability per token stands on the axis: -log10(-logprob)."""
    return -math.log10(max(-logprob, FLOOR))


def log_ticks(low: float, high: float, most: int, room: int = 1000) -> dict[float, str]:
    """Return at most so many places between `low` and `high`, with labels of at most `room` characters in all.

    They are powers of ten, and round numbers between them where these fit too.
    """
    for digits in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        values = [digit * 10.0**power for power in range(-5, 4) for digit in digits]
        found = {place(-value): f"\N{MINUS SIGN}{value:.5f}".rstrip("0").rstrip(".") for value in values}
        shown = {at: found[at] for at in sorted(found) if low <= at <= high}
        if _fit(shown, most, room):
            return shown
    while not _fit(shown, most, room):
        shown = {at: shown[at] for at in list(shown)[::2]}
    return shown


def _fit(ticks: dict[float, str], most: int, room: int) -> bool:
    return len(ticks) <= most and sum(len(label) + 3 for label in ticks.values()) <= room


def log_limits(places: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that holds these places, with a little room."""
    low, high = min(places), max(places)
    margin = max(0.04 * (high - low), 0.03)
    return low - margin, high + margin


def _colour(source: Source) -> str:
    return f"series-{SOURCES.index(source)}"


def _keys(figure: "Figure", sources: Sequence[Source]) -> None:
    labels = [SOURCE_WORDS[source] for source in sources]
    write_legend(figure, labels, [_colour(one) for one in sources], [_MARKERS[one] for one in sources])


def _legend_height(sources: Sequence[Source], width: int) -> float:
    return legend_places([SOURCE_WORDS[source] for source in sources], width)[1]


def _within(view: ChainsView, subset: Subset, source: Source) -> list[ScoredCandidate]:
    level = subset.value if subset.field == "level" else None
    return [
        one
        for one in view.scored
        if one.candidate.source == source
        and subset.benchmark in (None, one.problem.benchmark)
        and level in (None, str(one.problem.level))
    ]


# (a) likelihood by source


def _spread(view: ChainsView) -> Drawing:
    import numpy as np

    groups: list[tuple[str, list[tuple[Source, list[float]]]]] = []
    for _, subset in view.subsets[:MOST_SUBSETS]:
        rows = []
        for source in view.sources:
            found = [one.likelihood.mean_logprob for one in _within(view, subset, source)]
            if found:
                rows.append((source, list(map(float, np.percentile(found, _PERCENTILES)))))
        groups.append((subset_label(view, subset), rows))
    caption = (
        f"Mean log-probability per token of the candidates under {policy_label(view.main)}, likelier to the right; the "
        "axis is logarithmic. Line: 5th to 95th percentile over candidates; bar: the middle half; mark and number: "
        "the median."
    )
    name = f"{view.prefix}likelihood_by_source"
    return draw_twice(name, "likelihood by source", caption, lambda width: _boxes(groups, width))


def _boxes(groups: Sequence[tuple[str, list[tuple[Source, list[float]]]]], width: int) -> "Figure":
    wide = width == WIDE
    label_width, right = (150, 70) if wide else (112, 54)
    total = sum(26 + 22 * len(rows) for _, rows in groups) + 6
    figure = new_figure(width, total + 48)
    axes = axes_at(figure, label_width, 4, width - label_width - right, total)
    low, high = log_limits([place(value) for _, rows in groups for _, numbers in rows for value in numbers])
    axes.set(xlim=(0, high - low), ylim=(total, 0), yticks=[])
    ticks = log_ticks(low, high, 9, 100 if wide else 24)
    axes.set_xticks([at - low for at in ticks], labels=list(ticks.values()))
    axes.set_xlabel("log-probability per token, nats", fontsize=12, color=colour("muted"), labelpad=6)
    axes.grid(axis="x", color=colour("line"), linewidth=1)
    axes.set_axisbelow(True)
    left, edge = -label_width * pixel_across(axes), high - low + right * pixel_across(axes)
    y = 0.0
    for label, rows in groups:
        write(axes, left, y + 16, clip(label, int(label_width / 6.6)), weight="bold")
        y += 26
        for source, numbers in rows:
            x = [place(value) - low for value in numbers]
            shade = colour(_colour(source))
            write(axes, left, y + 11, SOURCE_WORDS[source], fontsize=12 if wide else 11.5)
            axes.plot([x[0], x[4]], [y + 11] * 2, "-", color=shade, linewidth=1.6, solid_capstyle="butt")
            axes.barh(y + 11, x[3] - x[1], left=x[1], height=12, color=shade, alpha=0.45, linewidth=0)
            axes.plot([x[2]], [y + 11], _MARKERS[source], color=shade, markersize=6.5, clip_on=False)
            write(axes, edge, y + 11, number(numbers[2]), ha="right", color=colour("muted"), fontsize=11.5)
            y += 22
    return figure


# (b) the plane


def _plane(view: ChainsView) -> Drawing:
    shown = list(view.scored)
    thinned = ""
    if len(shown) > MOST_POINTS:
        thinned = f" {MOST_POINTS:,} of {len(shown):,} candidates are shown, drawn at random; the means are over all."
        chosen = sorted(random.Random(0).sample(range(len(shown)), MOST_POINTS))
        shown = [shown[at] for at in chosen]
    caption = (
        f"Each point is a candidate under {policy_label(view.main)}. To the right, on a logarithmic axis: likelier; "
        "up: it makes the gold answer likelier; training wants the upper right. Large marks: the means of "
        f"the sources, with 95% intervals for problems like these.{thinned}"
    )
    name = f"{view.prefix}two_properties"
    return draw_twice(name, "the two properties", caption, lambda width: _points(view, shown, width))


def _points(view: ChainsView, shown: Sequence[ScoredCandidate], width: int) -> "Figure":
    wide = width == WIDE
    height = 420 if wide else 300
    legend = _legend_height(view.sources, width)
    figure = new_figure(width, legend + height + 72)
    _keys(figure, view.sources)
    axes = axes_at(figure, 44, legend + 24, width - 56, height)
    means = {source: _mean(view, source) for source in view.sources}
    found = [one.value for pair in means.values() for one in pair[:1] if one and one.value is not None]
    low, high = log_limits([place(value) for value in [*found, *(one.likelihood.mean_logprob for one in shown)]])
    axes.axhline(0, color=colour("muted"), linewidth=1)
    for source in view.sources:
        own = [one for one in shown if one.candidate.source == source]
        x = [place(one.likelihood.mean_logprob) for one in own]
        style: dict[str, Any] = {"alpha": 0.5, "markersize": 5 if wide else 3.5, "markeredgewidth": 0}
        axes.plot(x, [one.lift for one in own], _MARKERS[source], color=colour(_colour(source)), **style)
    for source, (logprob, lift) in means.items():
        _cross(axes, source, logprob, lift)
    axes.set(xlim=(low, high))
    ticks = log_ticks(low, high, 9, 120 if wide else 40)
    axes.set_xticks(list(ticks), labels=list(ticks.values()))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
    axes.set_xlabel("log-probability per token, nats", fontsize=12, color=colour("muted"), labelpad=6)
    axes.grid(color=colour("line"), linewidth=1)
    axes.set_axisbelow(True)
    write(axes, 0, 1 + 14 / height, "Answer lift, nats", transform=axes.transAxes, weight="bold")
    return figure


def _mean(view: ChainsView, source: Source) -> tuple[LikelihoodMetric | None, LikelihoodMetric | None]:
    return view.get(view.main, "all", source, "mean_logprob"), view.get(view.main, "all", source, "answer_lift")


def _cross(axes: "Axes", source: Source, logprob: LikelihoodMetric | None, lift: LikelihoodMetric | None) -> None:
    if logprob is None or lift is None or logprob.value is None or lift.value is None:
        return
    x, y, ink = place(logprob.value), lift.value, colour("ink")
    if logprob.ci_low is not None and logprob.ci_high is not None:
        axes.plot([place(logprob.ci_low), place(logprob.ci_high)], [y, y], "-", color=ink, linewidth=1.6)
    if lift.ci_low is not None and lift.ci_high is not None:
        axes.plot([x, x], [lift.ci_low, lift.ci_high], "-", color=ink, linewidth=1.6)
    mark: dict[str, Any] = {"markersize": 11, "markeredgecolor": ink, "markeredgewidth": 1.4, "zorder": 4}
    axes.plot([x], [y], _MARKERS[source], color=colour(_colour(source)), **mark)


# (d) drift over policies


def _drift(view: ChainsView) -> Drawing:
    names = [f"{at + 1} {policy_label(policy)}" for at, policy in enumerate(view.policies)]
    across = "Across: the checkpoints' steps" if view.steps else f"Across, the policies: {'; '.join(names)}"
    caption = (
        f"{across}. Means in nats with 95% bands for problems like these, log-probabilities per token on a logarithmic "
        "axis. The candidates stay the same; panels of a kind share their scale."
    )
    name = f"{view.prefix}drift"
    return draw_twice(name, "drift over policies", caption, lambda width: _drift_panels(view, width))


def _drift_panels(view: ChainsView, width: int) -> "Figure":
    wide = width == WIDE
    columns, cell = (2, 210) if wide else (1, 190)
    subsets = view.subsets[:MOST_SUBSETS]
    legend = _legend_height(view.sources, width)
    panels = [(name, subset, kind) for name, subset in subsets for kind in ("mean_logprob", "answer_lift")]
    figure = new_figure(width, legend + cell * -(-len(panels) // columns) + 22)
    _keys(figure, view.sources)
    ranges = {kind: _drift_range(view, kind, subsets) for kind in ("mean_logprob", "answer_lift")}
    each = width / columns
    for position, (name, subset, kind) in enumerate(panels):
        row, column = divmod(position, columns)
        axes = axes_at(figure, 52 + column * each, legend + 28 + row * cell, each - 76, cell - 64)
        _drift_lines(axes, view, name, kind)
        axes.set(ylim=ranges[kind])
        if kind == "mean_logprob":
            ticks = log_ticks(*ranges[kind], 5)
            axes.set_yticks(list(ticks), labels=list(ticks.values()))
        else:
            axes.locator_params(axis="y", nbins=5)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
        words = "log p per token" if kind == "mean_logprob" else "answer lift"
        label = f"{subset_label(view, subset)}: {words}"
        write(axes, 0, 1 + 12 / (cell - 64), clip(label, 40), transform=axes.transAxes, weight="bold")
    return figure


def _drift_range(view: ChainsView, kind: str, subsets: Sequence[tuple[str, Subset]]) -> tuple[float, float]:
    names = {name for name, _ in subsets}
    rows = [row for (_, subset, _, name), row in view.metrics.items() if name == kind and subset in names]
    values = [one for row in rows for one in (row.value, row.ci_low, row.ci_high) if one is not None]
    if kind == "mean_logprob":
        return log_limits([place(value) for value in values])
    margin = 0.05 * (max(values) - min(values)) or 1.0
    return min(values) - margin, max(values) + margin


def _drift_lines(axes: "Axes", view: ChainsView, subset: str, kind: str) -> None:
    at = view.steps or tuple(range(1, len(view.policies) + 1))
    scale = place if kind == "mean_logprob" else float
    for source in view.sources:
        found = [view.get(policy, subset, source, kind) for policy in view.policies]
        line = [(x, row) for x, row in zip(at, found, strict=True) if row is not None and row.value is not None]
        shade = colour(_colour(source))
        values = [scale(row.value) for _, row in line if row.value is not None]
        banded = [(x, row.ci_low, row.ci_high) for x, row in line]
        band = [(x, scale(low), scale(high)) for x, low, high in banded if low is not None and high is not None]
        if band:
            x, low, high = zip(*band, strict=True)
            axes.fill_between(x, low, high, color=shade, alpha=0.16, linewidth=0)
        axes.plot([x for x, _ in line], values, f"-{_MARKERS[source]}", color=shade, linewidth=2, markersize=5)
    margin = 0.03 * (at[-1] - at[0])
    axes.set(xlim=(at[0] - margin, at[-1] + margin))
    shown = at if len(at) <= 8 else at[:: -(-len(at) // 8)]
    axes.set_xticks(shown, labels=[str(one) for one in shown])
    axes.grid(axis="y", color=colour("line"), linewidth=1)
    axes.set_axisbelow(True)
