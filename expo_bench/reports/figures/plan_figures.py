"""The figure of a plan: what more samples a problem would show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from expo_bench.reports.figures.canvas import (
    WIDE,
    Drawing,
    axes_at,
    draw_twice,
    legend_places,
    new_figure,
    samples_axis,
    write,
    write_legend,
)
from expo_bench.reports.figures.svg import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 200
_LINES = (("problems like these", "series-1", "s"), ("these problems", "series-0", "o"))


def draw_plan(
    problems: int, ns: Sequence[int], rises: Sequence[Sequence[float]], seen: Sequence[float | None], power: float
) -> Drawing:
    """Draw the least rise of pass@1 that shows, and how often a verdict sees new problems, over samples a problem.

    Args:
        problems: how many there are.
        ns: samples a problem, ascending.
        rises: for problems like these, and for these problems: shares, NaN where out of reach.
        seen: shares of pairs, None where there is no verdict.
        power: the share of cases in which a rise shows.
    """
    caption = (
        f"{problems} problems. Left: the least rise of pass@1 that shows in {power:.0%} of cases. Right: how often a "
        f"verdict sees new problems; the line is at {power:.0%}."
    )

    def figure(width: int) -> "Figure":
        wide = width == WIDE
        legend = legend_places([label for label, _, _ in _LINES], width)[1]
        cell = _HEIGHT + 72
        drawn = new_figure(width, legend + cell * (1 if wide else 2))
        write_legend(drawn, *([line[place] for line in _LINES] for place in range(3)))
        across = width / 2 if wide else width
        places = [(48, legend + 26), (48 + across, legend + 26) if wide else (48, legend + 26 + cell)]
        left, right = (axes_at(drawn, *place, across - 68, _HEIGHT) for place in places)
        for shares, (_, shade, marker) in zip(rises, _LINES, strict=True):
            _line(left, ns, shares, shade, marker)
        _line(right, ns, [float("nan") if share is None else share for share in seen], "series-2", "^")
        right.axhline(100 * power, color=colour("muted"), linewidth=1)
        right.set_ylim(0, 100)
        left.set_ylim(bottom=0)
        if not any(share == share for shares in rises for share in shares):
            left.set_yticks([])
            write(left, 0.5, 0.5, "out of reach", transform=left.transAxes, ha="center", color=colour("muted"))
        for axes, title in ((left, "least rise of pass@1, points"), (right, "new problems seen, %")):
            _scale(axes, ns, few=not wide)
            write(axes, 0, 1 + 14 / _HEIGHT, title, transform=axes.transAxes, weight="bold")
        return drawn

    return draw_twice("plan", "what so many samples show", caption, figure)


def _line(axes: "Axes", ns: Sequence[int], shares: Sequence[float], shade: str, marker: str) -> None:
    percent = [100 * share for share in shares]
    axes.plot(ns, percent, color=colour(shade), linewidth=2, marker=marker, markersize=6, clip_on=False)


def _scale(axes: "Axes", ns: Sequence[int], *, few: bool) -> None:
    shown = ns if len(ns) <= (6 if few else 10) else ns[::-2][::-1]
    samples_axis(axes, ns[0], ns[-1], shown)
    axes.set_xlabel("n (samples per problem, log scale)", fontsize=12, color=colour("muted"), labelpad=6)
