"""The figures of a sharpening ledger: its numbers in, SVG out."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from expo_bench.reports.figures.canvas import (
    WIDE,
    Drawing,
    axes_at,
    beyond_words,
    clip,
    draw_beyond,
    draw_twice,
    legend_places,
    new_figure,
    samples_axis,
    series_colour,
    write,
    write_legend,
)
from expo_bench.reports.figures.svg import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Mapping[str, Any]

CELL_WORDS = {
    "both": "both", "base_only": "base only: lost", "trained_only": "trained only: new", "neither": "neither",
}  # fmt: skip
_CELL_COLOURS = {"both": "series-0", "base_only": "series-1", "trained_only": "series-2", "neither": "no_answer"}
_CELL_INK = {"both": "page", "base_only": "page", "trained_only": "page", "neither": "on-light"}
_CURVES = 260
_ROW, _BAR = 46, 20
_BINS = ["0", *(f"{step * 10}" for step in range(1, 11))]


def draw_ledger(section: Numbers, prefix: str, series: int = 0) -> list[Drawing]:
    """Draw one comparison: curves, cells and flows.

    Args:
        section: of the ledger.
        prefix: begins the figures' names.
        series: colour of the trained model, the same as in other figures; the base has none of its own.
    """
    over_all = section["subsets"]["all"]
    names = (section["base"], section["trained"])
    budget = over_all["budget"]["smallest"]
    beyond = section.get("beyond")
    farther = f" {beyond_words(beyond['not_identified_above'])}" if beyond else ""
    return [
        draw_twice(
            f"{prefix}_curves",
            "pass@k and its difference",
            "pass@k of both models, and trained minus base, from the same problems in each draw. 95% bands for "
            f"problems like these; below 0 the base has the wider reach.{farther}",
            partial(_curves, over_all["pass_at_k"], beyond, names, series_colour(series)),
        ),
        draw_twice(
            f"{prefix}_cells",
            "coverage cells",
            f"Problems solved at least once in {budget} samples, by level. Above each bar: new and lost problems, and "
            "how many of each chance alone would bring.",
            partial(_cells, section["subsets"]),
        ),
        draw_twice(
            f"{prefix}_flows",
            "accuracy before and after",
            "Problems by the share of their samples that are right, base down, trained across: 0, then in steps of ten "
            "percent up to the number shown. On the diagonal nothing changed; above it the trained model is better.",
            partial(_flows, over_all["accuracy_flows"], names),
        ),
    ]


def _curves(curve: Numbers, beyond: Numbers | None, names: tuple[str, str], shade: str, width: int) -> "Figure":
    wide = width == WIDE
    legend = legend_places(names, width)[1]
    columns = 2 if wide else 1
    cell = _CURVES + 76
    figure = new_figure(width, legend + (2 // columns) * cell)
    write_legend(figure, names, ["muted", shade], ["s", "o"])
    for position, title in enumerate(("pass@k, %", "trained minus base, points")):
        row, column = divmod(position, columns)
        left = 48 + column * width / columns
        axes = axes_at(figure, left, legend + 26 + row * cell, width / columns - 68, _CURVES)
        if position == 0:
            _line(axes, curve["k"], curve["base"], "muted", "--")
            _line(axes, curve["k"], curve["trained"], shade)
            axes.set_ylim(0, 100)
            if beyond:
                for side, name in (("base", "muted"), ("trained", shade)):
                    _reach(axes, curve["k"][-1], curve[side], beyond["k"], beyond[side], name)
        else:
            _line(axes, curve["k"], curve["difference"], shade)
            axes.axhline(0, color=colour("muted"), linewidth=1)
        _scale(axes, beyond["k"] if beyond and position == 0 else curve["k"])
        write(axes, 0, 1 + 14 / _CURVES, title, transform=axes.transAxes, weight="bold")
    return figure


def _line(axes: "Axes", ks: Sequence[int], estimate: Numbers, name: str, style: str = "-") -> None:
    shade = colour(name)
    percent = [100 * value for value in estimate["value"]]
    # where there is no interval the band has no width
    low, high = (
        [value if end is None else 100 * end for end, value in zip(estimate[name], percent, strict=True)]
        for name in ("low", "high")
    )
    axes.fill_between(ks, low, high, color=shade, alpha=0.16, linewidth=0)
    axes.plot(ks, percent, style, color=shade, linewidth=2, marker="o" if len(ks) == 1 else None)


def _reach(axes: "Axes", n: int, told: Numbers, ks: Sequence[int], beyond: Numbers, name: str) -> None:
    """Draw what is possible above n, from the estimate at n on."""
    last = told["value"][-1]
    begin = {end: last if told[end][-1] is None else told[end][-1] for end in ("low", "high")} | {"forecast": last}
    low, high, forecast = ([begin[end], *beyond[end]] for end in begin)
    draw_beyond(axes, [n, *ks], low, high, forecast, colour(name))


def _scale(axes: "Axes", ks: Sequence[int]) -> None:
    powers = [2**power for power in range(ks[-1].bit_length())]
    shown = powers if len(powers) <= 6 else powers[::2]
    samples_axis(axes, 1, ks[-1], shown)
    axes.set_xlabel("k (samples per problem, log scale)", fontsize=12, color=colour("muted"), labelpad=6)


def _cells(subsets: Mapping[str, Numbers], width: int) -> "Figure":
    words = list(CELL_WORDS.values())
    legend = legend_places(words, width)[1]
    figure = new_figure(width, legend + 8 + _ROW * len(subsets))
    write_legend(figure, words, list(_CELL_COLOURS.values()), ["s"] * len(words))
    axes = axes_at(figure, 0, legend + 8, width, _ROW * len(subsets))
    axes.set(xlim=(0, width), ylim=(_ROW * len(subsets), 0), xticks=[], yticks=[])
    for row, (name, numbers) in enumerate(subsets.items()):
        top = row * _ROW
        cells, expected = numbers["cells"], numbers["null"]["expected"]
        write(axes, 0, top + 8, clip(f"{name} ({numbers['n_problems']})", 20))
        told = f"new {cells['trained_only']}, lost {cells['base_only']}; by chance {expected:.1f} each"
        write(axes, width, top + 8, told, ha="right", color=colour("muted"))
        left = 0.0
        for cell, count in cells.items():
            length = width * count / numbers["n_problems"]
            axes.barh(top + 28, length, _BAR, left, color=colour(_CELL_COLOURS[cell]))
            if length > 9 + 8 * len(str(count)):
                write(axes, left + length / 2, top + 28, str(count), ha="center", color=colour(_CELL_INK[cell]))
            left += length
    return figure


def _flows(flows: Sequence[Sequence[int]], names: tuple[str, str], width: int) -> "Figure":
    side = 40 if width == WIDE else 25
    size, edge, head = side * len(flows), 44, 44
    across = width - edge - 8
    figure = new_figure(width, head + size + 8)
    axes = axes_at(figure, edge, head, across, size)
    axes.set(xlim=(0, len(flows)), ylim=(len(flows), 0))
    places = [place + 0.5 for place in range(len(flows))]
    axes.set_xticks(places, labels=_BINS)
    axes.set_yticks(places, labels=_BINS)
    axes.xaxis.tick_top()
    most = max(max(row) for row in flows)
    for row, counts in enumerate(flows):
        for column, count in enumerate(counts):
            # an empty field keeps its place; a single problem among thousands is still seen
            strength = 0.1 + 0.5 * (count / most) ** 0.5 if count else 0.0
            shade = "series-2" if column > row else "series-1" if column < row else "series-5"
            axes.add_patch(_field(column, row, colour(shade) if count else colour("surface"), strength or 1.0))
            if count:
                write(axes, column + 0.5, row + 0.5, str(count), ha="center", fontsize=12 if count < 1000 else 9)
    limit = 40 if width == WIDE else 20
    write(axes, 0, -34 / side, f"{clip(names[1], limit)}: right samples, %, at most", weight="bold")
    write(
        axes,
        -34 * len(flows) / across,
        len(flows) / 2,
        clip(names[0], limit),
        weight="bold",
        rotation=90,
        ha="center",
        va="center",
    )
    return figure


def _field(column: int, row: int, shade: str, strength: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, color=shade, alpha=strength, linewidth=0)
