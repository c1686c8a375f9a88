"""Small line charts as SVG, cheap enough to be drawn at every look at what is still running; no matplotlib."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from numpy.typing import NDArray

from expo_bench.reports.figures.svg import N_SERIES

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 320, 150, 56, 8, 22
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2", "10 4")
_MOST_POINTS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line."""

    name: str
    x: Sequence[float] | NDArray[Any]
    y: Sequence[float] | NDArray[Any]
    colour: int = 0
    """Place in the palette's series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart, as the templates take it."""

    title: str
    svg: str
    legend: list[tuple[str, str]]
    """Name of each line with a sample of it; nothing for a single line."""


def panel(title: str, series: Sequence[Series], *, low: float | None = None, high: float | None = None) -> Panel | None:
    """Draw the lines over one axis; None where there is no number.

    Args:
        title: what is drawn, with its unit.
        series: the lines; NaN leaves a gap out.
        low: lower end of the axis; None takes that of the numbers.
        high: upper end.
    """
    kept = [(one, _points(one)) for one in series]
    kept = [(one, points) for one, points in kept if points]
    if not kept:
        return None
    xs = [x for _, points in kept for x, _ in points]
    ys = [y for _, points in kept for _, y in points]
    bottom, top = low if low is not None else min(ys), high if high is not None else max(ys)
    if top - bottom <= 1e-6 * max(abs(top), abs(bottom)):
        # one value: in the middle, or at the end that was given
        room = abs(top) or 1.0
        bottom, top = bottom - room * (low is None), top + room
    bottom, top = _rounded(bottom, top)
    left, right = min(xs), max(max(xs), min(xs) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - left) / (right - left) * (_WIDTH - _LEFT - 8)
        down = _TOP + (top - y) / (top - bottom) * (_HEIGHT - _TOP - _BOTTOM)
        return round(across, 1), round(down, 1)

    parts = []
    for value in (bottom, (bottom + top) / 2, top):
        _, y = place(left, value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y}" y2="{y}" stroke="var(--line)"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{_short(value)}</text>')
    for value, anchor in ((left, "start"), (right, "end")):
        parts.append(f'<text x="{place(value, bottom)[0]}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{value:g}</text>')
    for one, points in kept:
        placed = [place(x, min(max(y, bottom), top)) for x, y in points]
        line = " ".join(f"{x},{y}" for x, y in placed)
        style = _style(one.colour)
        parts.append(f'<polyline points="{line}" fill="none" {style}/>')
        if len(placed) <= 12:
            shade = f"var(--series-{one.colour % N_SERIES})"
            parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{shade}"/>' for x, y in placed]
    last = "; ".join(f"{one.name} ends at {_short(points[-1][1])}" for one, points in kept)
    head = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}: {last}")}">'
    keys = [(one.name, _key(one.colour)) for one, _ in kept] if len(kept) > 1 else []
    return Panel(title=title, svg=f"{head}{''.join(parts)}</svg>", legend=keys)


def _rounded(bottom: float, top: float) -> tuple[float, float]:
    """Return ends of an axis that hold both numbers and, like its middle, are round."""
    half = (top - bottom) / 2
    power = 10.0 ** math.floor(math.log10(half))
    for step in (digit * power for digit in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20)):
        least = step * math.floor(bottom / step + 1e-9)
        if least + 2 * step >= top - 1e-9 * step:
            return least, least + 2 * step
    return bottom, top


def _points(one: Series) -> list[tuple[float, float]]:
    points = [(float(x), float(y)) for x, y in zip(one.x, one.y, strict=True) if math.isfinite(y)]
    if len(points) <= _MOST_POINTS:
        return points
    step = len(points) / _MOST_POINTS
    return [points[int(place * step)] for place in range(_MOST_POINTS - 1)] + points[-1:]


def _style(colour: int) -> str:
    dash = _DASHES[colour % len(_DASHES)]
    return f'stroke="var(--series-{colour % N_SERIES})" stroke-width="2" stroke-dasharray="{dash}"'


def _key(colour: int) -> str:
    return f'<svg viewBox="0 0 26 10" aria-hidden="true"><line x1="0" x2="26" y1="5" y2="5" {_style(colour)}/></svg>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
