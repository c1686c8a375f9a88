"""Helps matplotlib to draw in CSS pixels, with the palette, once for a wide page and once for a phone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expo_bench.reports.figures.svg import N_SERIES, colour, standalone, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 960, 328
MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One figure in its two widths."""

    name: str
    caption: str
    wide: str
    narrow: str

    def _repr_svg_(self) -> str:
        """Show it in a notebook."""
        return standalone(self.wide)


def draw_twice(name: str, title: str, caption: str, draw: Callable[[int], "Figure"]) -> Drawing:
    """Draw a figure at both widths; `draw` gets the width."""
    wide, narrow = (
        to_svg(draw(width), name=f"{name}-{size}", title=title, description=caption)
        for size, width in (("wide", WIDE), ("narrow", NARROW))
    )
    return Drawing(name=name, caption=caption, wide=wide, narrow=narrow)


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of this many pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72))


def axes_at(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Add axes at a place given in pixels from the top left corner."""
    full_width, full_height = (72 * inches for inches in figure.get_size_inches())
    axes: Axes = figure.add_axes(
        (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    )
    axes.set_facecolor("none")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, labelsize=12, labelcolor=colour("muted"), pad=6)
    return axes


def write(axes: "Axes", x: float, y: float, text: str, **style: Any) -> None:
    """Write text as it is: a dollar sign begins no formula."""
    options: dict[str, Any] = {"fontsize": 12, "color": colour("ink"), "va": "center_baseline", **style}
    axes.text(x, y, text, parse_math=False, clip_on=False, **options)


def clip(text: str, limit: int) -> str:
    """Shorten a label."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def legend_places(labels: Sequence[str], width: float) -> tuple[list[tuple[float, float, str]], float]:
    """Return the place of each key in as many lines as they need, and the height that they take."""
    places = []
    x, y = 0.0, 10.0
    for label in (clip(label, 40) for label in labels):
        needed = 32 + 7.4 * len(label)
        if x > 0 and x + needed > width:
            x, y = 0.0, y + 20
        places.append((x, y, label))
        x += needed
    return places, y + 14


def write_legend(figure: "Figure", labels: Sequence[str], colours: Sequence[str], markers: Sequence[str]) -> None:
    """Write the keys at the top, as `legend_places` has them."""
    width, height = (72 * inches for inches in figure.get_size_inches())
    axes = axes_at(figure, 0, 0, width, height)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    places, _ = legend_places(labels, width)
    for (x, y, label), name, marker in zip(places, colours, markers, strict=True):
        axes.plot([x + 6], [y], marker, color=colour(name), markersize=9 if marker == "s" else 8, clip_on=False)
        write(axes, x + 18, y, label)


def series_colour(position: int) -> str:
    """Return the palette's name for the colour of a run."""
    return f"series-{position % N_SERIES}"


def round_up(shares: Iterable[float]) -> float:
    """Return where an axis from 0 ends, so that it holds the shares and its four steps are round."""
    top = max(shares, default=1.0)
    return next((step for step in (0.04, 0.1, 0.2, 0.4, 0.6, 0.8) if top <= step), 1.0)


def samples_axis(axes: "Axes", first: int, last: int, shown: Sequence[int]) -> None:
    """Make the axis across one of samples a problem, logarithmic, with these numbers at it, above it plain numbers."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(first / 1.06, last * 1.06)
    axes.set_xticks(shown, labels=[str(k) for k in shown])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="y", color=colour("line"), linewidth=1)
    axes.set_axisbelow(True)


def beyond_words(farthest: int) -> str:
    """Return what a caption says of the part above n."""
    return (
        f"Between the upright line at n and k = {farthest}: what the samples leave possible whatever the difficulties "
        "of problems are (shaded, 95%), and the forecast of a Beta law (dotted), which may be wrong. Beyond, pass@k is "
        "not identified."
    )


def draw_beyond(
    axes: "Axes", ks: Sequence[int], low: Sequence[float], high: Sequence[float], forecast: Sequence[float], shade: str
) -> None:
    """Draw pass@k above n, from n on, in percent: shares in, the first of them at n."""
    axes.axvline(ks[0], color=colour("line"), linewidth=1)
    low, high, forecast = ([100 * share for share in line] for line in (low, high, forecast))
    axes.fill_between(ks, low, high, color=shade, alpha=0.1, linewidth=0)
    axes.plot(ks, forecast, ":", color=shade, linewidth=1.4)


def pixel_across(axes: "Axes") -> float:
    """Return what one pixel is on the axis across."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return float(axes.get_xlim()[1] / (axes.get_position().width * 72 * figure.get_size_inches()[0]))
