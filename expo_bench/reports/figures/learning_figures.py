"""Learning curves as a figure: what each arm of a study solves after so many steps or tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expo_bench.reports.figures.canvas import (
    MARKERS,
    WIDE,
    Drawing,
    axes_at,
    draw_twice,
    legend_places,
    new_figure,
    series_colour,
    write,
    write_legend,
)
from expo_bench.reports.figures.run_figures import Estimate
from expo_bench.reports.figures.svg import N_SERIES, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One arm: its name, and by steps or tokens its estimates and the seeds' own values."""

    arm: str
    points: dict[float, Estimate]
    seeds: tuple[dict[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePanel:
    """One metric of all arms."""

    title: str
    curves: tuple[Curve, ...]
    along: str
    """What the curves run along, in words."""


def learning_curves(name: str, title: str, panels: Sequence[CurvePanel], caption: str) -> Drawing:
    """Draw the panels side by side on a wide page, one below the other on a phone; arms keep their colours."""
    return draw_twice(name, title, caption, lambda width: _figure(panels, width))


def _figure(panels: Sequence[CurvePanel], width: int) -> "Figure":
    wide = width == WIDE
    arms = list(dict.fromkeys(curve.arm for panel in panels for curve in panel.curves))
    legend = legend_places(arms, width)[1]
    columns = len(panels) if wide else 1
    rows = -(-len(panels) // columns)
    cell = _HEIGHT + 70
    figure = new_figure(width, legend + rows * cell)
    markers = [MARKERS[position % len(MARKERS)] for position in range(len(arms))]
    write_legend(figure, arms, [series_colour(position) for position in range(len(arms))], markers)
    for position, panel in enumerate(panels):
        row, column = divmod(position, columns)
        left = 44 + column * (width / columns)
        axes = axes_at(figure, left, legend + 26 + row * cell, width / columns - 64, _HEIGHT)
        _panel(axes, panel, arms)
        write(axes, 0, 1 + 14 / _HEIGHT, f"{panel.title}, %", transform=axes.transAxes, weight="bold")
        axes.set_xlabel(panel.along, fontsize=12, color=colour("muted"), labelpad=6)
    return figure


def _panel(axes: "Axes", panel: CurvePanel, arms: Sequence[str]) -> None:
    for curve in panel.curves:
        position = arms.index(curve.arm)
        shade, steps = colour(series_colour(position)), sorted(curve.points)
        points = [curve.points[step] for step in steps]
        axes.fill_between(steps, [100 * p.low for p in points], [100 * p.high for p in points], color=shade, alpha=0.1)
        for seed in curve.seeds if len(curve.seeds) > 1 else ():
            axes.plot(sorted(seed), [100 * seed[step] for step in sorted(seed)], color=shade, linewidth=0.7, alpha=0.55)
        style = "-" if position < N_SERIES else "--"
        axes.plot(
            steps, [100 * p.value for p in points], style, color=shade, linewidth=2, clip_on=False,
            marker=MARKERS[position % len(MARKERS)], markersize=5,
        )  # fmt: skip
    axes.set(ylim=(0, 100))
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.grid(axis="y", color=colour("line"), linewidth=1)
    axes.set_axisbelow(True)
