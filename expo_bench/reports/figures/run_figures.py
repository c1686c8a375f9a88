"""The figures of a report: plain numbers in, SVG out. Each is drawn twice, for a wide page and for a phone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from expo_bench.reports.figures.canvas import (
    MARKERS,
    WIDE,
    Drawing,
    axes_at,
    clip,
    draw_beyond,
    draw_twice,
    legend_places,
    new_figure,
    pixel_across,
    round_up,
    samples_axis,
    series_colour,
    write,
    write_legend,
)
from expo_bench.reports.figures.svg import N_SERIES, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STATUS_TEXT = {"correct": "on-dark", "timeout": "on-dark", "error": "on-dark"}


class Estimate(NamedTuple):
    """A share with its 95% interval, all between 0 and 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve with its band."""

    label: str
    series: int
    """Which colour and marker: the position of the run."""
    points: dict[int, Estimate]
    """k -> pass@k."""
    beyond: Mapping[int, Estimate] = field(default_factory=dict)
    """k -> forecast of pass@k for k above n, with what the samples leave possible; shown of a single line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One small plot of several lines."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRow:
    """A subset of the problems with one pair of estimates a run: avg@n (the bar) and pass@k (the mark)."""

    label: str
    depth: int
    bars: tuple[tuple[Estimate | None, Estimate | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRow:
    """A subset of the problems with the shares of each run's samples by what became of them."""

    label: str
    depth: int
    shares: tuple[dict[str, float], ...]


def pass_at_k(main: Panel, small: Sequence[Panel], caption: str) -> Drawing:
    """Draw pass@k over k: one large panel, and small ones below it that share their axes."""
    return draw_twice("pass_at_k", "pass@k", caption, lambda width: _curves(main, small, width))


def levels(
    rows: Sequence[BarRow], runs: Sequence[str], letters: Sequence[str], names: Sequence[str], caption: str
) -> Drawing:
    """Draw avg@n as bars with intervals and pass@k as marks, a row for each subset.

    Args:
        rows: what to draw.
        runs: the names of the runs.
        letters: what stands beside each run's bar.
        names: what the bars and, if there are any, the marks are.
        caption: what stands below the figure.
    """
    return draw_twice("levels", "accuracy by subset", caption, lambda width: _bars(rows, runs, letters, names, width))


def statuses(rows: Sequence[StackRow], letters: Sequence[str], labels: dict[str, str], caption: str) -> Drawing:
    """Draw what became of the samples as stacked shares, a row for each subset."""
    return draw_twice("statuses", "samples by status", caption, lambda width: _stacks(rows, letters, labels, width))


# pass@k curves


def _curves(main: Panel, small: Sequence[Panel], width: int) -> "Figure":
    wide = width == WIDE
    columns = min(5 if wide else 2, max(len(small), 1))
    rows = -(-len(small) // columns)
    several = len(main.lines) > 1
    names = [line.label for line in main.lines]
    legend = legend_places(names, width)[1] if several and not wide else 0.0
    main_height, cell = (300 if wide else 220), (178 if wide else 156)
    figure = new_figure(width, legend + main_height + 62 + rows * cell + (8 if rows else 0))
    if legend:
        markers = [MARKERS[line.series % N_SERIES] for line in main.lines]
        write_legend(figure, names, [series_colour(line.series) for line in main.lines], markers)
    right = (190 if several else 64) if wide else 12
    axes = axes_at(figure, 44, legend + 22, width - 44 - right, main_height)
    _curve_panel(axes, main, _ceiling([main]), large=True)
    axes.set_xlabel("k (samples per problem, log scale)", fontsize=12, color=colour("muted"), labelpad=6)
    write(axes, 0, 1 + 14 / main_height, f"{main.title}: pass@k, %", transform=axes.transAxes, weight="bold")
    if wide:
        _end_labels(axes, main, several)
    ceiling = _ceiling(small)
    for position, panel in enumerate(small):
        row, column = divmod(position, columns)
        left = 44 + column * (width - 32) / columns
        top = legend + main_height + 62 + row * cell + 24
        axes = axes_at(figure, left, top, (width - 32) / columns - 24, cell - 60)
        _curve_panel(axes, panel, ceiling, large=False)
        if column:
            axes.set_yticklabels([])
        write(axes, 0, 1 + 11 / (cell - 60), clip(panel.title, 22), transform=axes.transAxes, weight="bold")
    return figure


def _ceiling(panels: Sequence[Panel]) -> float:
    return round_up(point.high for panel in panels for line in panel.lines for point in _shown(line, panel).values())


def _shown(line: Line, panel: Panel) -> dict[int, Estimate]:
    """Return the points of a line, with those above n where it stands alone."""
    return {**line.points, **(line.beyond if len(panel.lines) == 1 else {})}


def _curve_panel(axes: "Axes", panel: Panel, ceiling: float, *, large: bool) -> None:
    ks = sorted({k for line in panel.lines for k in _shown(line, panel)})
    for line in panel.lines:
        x = sorted(line.points)
        points = [line.points[k] for k in x]
        shade = colour(series_colour(line.series))
        low, high = [100 * point.low for point in points], [100 * point.high for point in points]
        axes.fill_between(x, low, high, color=shade, alpha=0.16 if len(panel.lines) == 1 else 0.1, linewidth=0)
        marker = MARKERS[line.series % N_SERIES]
        style = "-" if line.series < N_SERIES else "--"
        size: dict[str, Any] = {"linewidth": 2, "marker": marker, "markersize": 6 if large else 4}
        axes.plot(x, [100 * point.value for point in points], style, color=shade, clip_on=False, **size)
        if len(points) < len(_shown(line, panel)):
            ends = [points[-1], *line.beyond.values()]
            values = ([one.low for one in ends], [one.high for one in ends], [one.value for one in ends])
            draw_beyond(axes, [x[-1], *line.beyond], *values, shade)
    axes.set_ylim(0, 100 * ceiling)
    few = [ks[0], *([ks[len(ks) // 2]] if len(ks) > 2 else []), ks[-1]]
    shown = few if not large else ks if len(ks) <= 10 else ks[::-2][::-1]
    samples_axis(axes, ks[0], ks[-1], shown)
    steps = 4 if large or ceiling in (0.4, 0.8) else 2
    axes.set_yticks([100 * ceiling * step / steps for step in range(steps + 1)])


def _end_labels(axes: "Axes", panel: Panel, several: bool) -> None:
    """Write each curve's name and last value at its end, pushed apart where they would meet."""
    ends = sorted((line.points[max(line.points)].value * 100, line.series, line) for line in panel.lines)
    gap = axes.get_ylim()[1] * 18 / 300
    places = spread([value for value, _, _ in ends], gap, axes.get_ylim()[1])
    labels = told_apart([line.label for _, _, line in ends])
    for y, label, (value, series, line) in zip(places, labels, ends, strict=True):
        text = f"{value:.1f}\u2002{clip(label, 20)}" if several else f"{value:.1f}"
        if several or not line.beyond:
            _beside(axes, text, (axes.get_xlim()[1], y), (10, 0), series)
        else:
            last = line.beyond[max(line.beyond)]
            _beside(axes, text, (max(line.points), y), (8, -14), series)
            low, high = math.floor(100 * last.low), math.ceil(100 * last.high)
            _beside(axes, f"{low}\u2013{high}", (axes.get_xlim()[1], (low + high) / 2), (10, 0), series)


def _beside(axes: "Axes", text: str, point: tuple[float, float], offset: tuple[float, float], series: int) -> None:
    axes.annotate(
        text,
        point,
        offset,
        textcoords="offset points",
        fontsize=12,
        color=colour(series_colour(series)),
        va="center_baseline",
        parse_math=False,
        # a label beyond the axis is a label all the same
        annotation_clip=False,
    )


def spread(values: Sequence[float], gap: float, top: float) -> list[float]:
    """Return places for ascending values, at least `gap` apart and none above `top`, as near to them as that leaves."""
    places: list[float] = []
    for value in values:
        places.append(max(value, places[-1] + gap) if places else value)
    ceiling = top
    for at in reversed(range(len(places))):
        places[at] = min(places[at], ceiling)
        ceiling = places[at] - gap
    return places


def told_apart(labels: Sequence[str]) -> list[str]:
    """Return the labels without the words that all of them begin with; a label is cut at the end of a word."""
    first = min(labels, default="")
    last = max(labels, default="")
    shared = next((at for at, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first))
    cut = max((first.rfind(mark, 0, shared) + 1 for mark in "-_/ ,"), default=0)
    return [label[cut:] or label for label in labels] if len(labels) > 1 and first != last else list(labels)


# horizontal bars


def _bar_axes(
    figure: "Figure", top: float, heights: Sequence[float], label_width: float, right: float, ceiling: float = 1.0
) -> tuple["Axes", list[float]]:
    """Return axes with pixels down and percent across, and the top of each row."""
    width = 72 * figure.get_size_inches()[0] - label_width - right
    total = sum(heights)
    axes = axes_at(figure, label_width, top, width, total)
    axes.set(xlim=(0, 100 * ceiling), ylim=(total, 0), yticks=[])
    steps = 4 if width > 300 else 2
    ticks = [100 * ceiling * step / steps for step in range(steps + 1)]
    axes.set_xticks(ticks, labels=[f"{tick:g}" + ("%" if tick == ticks[-1] else "") for tick in ticks])
    axes.grid(axis="x", color=colour("line"), linewidth=1)
    axes.set_axisbelow(True)
    return axes, [sum(heights[:position]) for position in range(len(heights))]


def _row_label(
    axes: "Axes", y: float, row: BarRow | StackRow, rows: Sequence[BarRow | StackRow], label_width: float
) -> None:
    weight = "bold" if row.depth == 0 or row.depth < max(other.depth for other in rows) else "normal"
    x = (-label_width + 10 * max(row.depth - 1, 0)) * pixel_across(axes)
    write(axes, x, y, clip(row.label, int(label_width / 7.4)), weight=weight)


def _bars(
    rows: Sequence[BarRow], runs: Sequence[str], letters: Sequence[str], names: Sequence[str], width: int
) -> "Figure":
    wide = width == WIDE
    thick, gap = 16, 3
    heights = [len(runs) * (thick + gap) + 10 for _ in rows]
    label_width, right = (150, 134) if wide else (98, 112)
    label_width += 20 if len(runs) > 1 else 0
    ceiling = round_up(estimate.high for row in rows for pair in row.bars for estimate in pair if estimate)
    legend = legend_places(runs, width)[1] if len(runs) > 1 else 0.0
    figure = new_figure(width, legend + 26 + sum(heights) + 26)
    if legend:
        write_legend(figure, runs, [series_colour(run) for run in range(len(runs))], "s" * len(runs))
    axes, tops = _bar_axes(figure, legend + 26, heights, label_width, right, ceiling)
    edge, pixel = 100 * ceiling, pixel_across(axes)
    columns = [edge + (right - (66 if wide else 58)) * pixel, edge + right * pixel]
    for column, name in zip(columns, names, strict=False):
        write(axes, column, -12, name, ha="right", color=colour("muted"), fontsize=12 if wide else 11)
    for top, row in zip(tops, rows, strict=True):
        _row_label(axes, top + 5 + len(runs) * (thick + gap) / 2, row, rows, label_width)
        for position, (value, best) in enumerate(row.bars):
            y = top + 5 + position * (thick + gap) + thick / 2
            write(axes, -6 * pixel, y, letters[position], ha="right", color=colour("muted"))
            _bar(axes, y, thick, value, best, series_colour(position))
            for column, estimate, _ in zip(columns, (value, best), names, strict=False):
                text = "–" if estimate is None else f"{100 * estimate.value:.1f}"
                write(axes, column, y, text, ha="right")
    return figure


def _bar(axes: "Axes", y: float, thick: float, value: Estimate | None, best: Estimate | None, shade: str) -> None:
    if value is not None:
        axes.barh(y, 100 * value.value, height=thick, color=colour(shade), alpha=0.78, linewidth=0)
        above = y - thick / 6
        axes.plot([100 * value.low, 100 * value.high], [above, above], "-", color=colour("ink"), linewidth=1.6)
    if best is not None:
        below = y + thick / 6
        axes.plot([100 * best.low, 100 * best.high], [below, below], "-", color=colour(shade), linewidth=1.4)
        mark: dict[str, Any] = {
            "markerfacecolor": colour("page"),
            "markeredgecolor": colour(shade),
            "markeredgewidth": 2,
        }
        axes.plot([100 * best.value], [below], "D", markersize=7, clip_on=False, **mark)


def _stacks(rows: Sequence[StackRow], letters: Sequence[str], labels: dict[str, str], width: int) -> "Figure":
    wide = width == WIDE
    thick, gap = 20, 3
    heights = [len(letters) * (thick + gap) + 10 for _ in rows]
    label_width, right = (150, 14) if wide else (98, 14)
    label_width += 20 if len(letters) > 1 else 0
    used = [status for status in labels if any(shares.get(status) for row in rows for shares in row.shares)]
    keys = [labels[status] for status in used]
    legend = legend_places(keys, width)[1]
    figure = new_figure(width, legend + sum(heights) + 26)
    write_legend(figure, keys, used, "s" * len(keys))
    axes, tops = _bar_axes(figure, legend, heights, label_width, right)
    for top, row in zip(tops, rows, strict=True):
        middle = top + 5 + len(letters) * (thick + gap) / 2
        _row_label(axes, middle, row, rows, label_width)
        for position, shares in enumerate(row.shares):
            y = top + 5 + position * (thick + gap) + thick / 2
            write(axes, -6 * pixel_across(axes), y, letters[position], ha="right", color=colour("muted"))
            _stack(axes, y, thick, {status: shares.get(status, 0.0) for status in used}, width)
    return figure


def _stack(axes: "Axes", y: float, thick: float, shares: dict[str, float], width: int) -> None:
    left = 0.0
    for status, share in shares.items():
        if share <= 0:
            continue
        axes.barh(y, 100 * share, left=left, height=thick, color=colour(status), edgecolor=colour("page"), linewidth=1)
        if share > (0.06 if width == WIDE else 0.14):
            text = _STATUS_TEXT.get(status, "on-light")
            write(axes, left + 50 * share, y, f"{100 * share:.0f}", ha="center", color=colour(text), fontsize=11.5)
        left += 100 * share
