"""The two-property plane: a mark a chain, how likely it is against how much it lifts the answer; each leads to it."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from expo_bench.errors import UserError
from expo_bench.reports.figures.heat import chain_tokens, step_labels
from expo_bench.reports.figures.likelihood_figures import log_limits, log_ticks, place
from expo_bench.reports.likelihood_views import SOURCE_WORDS, ChainsView, ScoredCandidate, number
from expo_bench.reports.pages import trusted
from expo_bench.reports.text import excerpt, short
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.run_page import crumbs_of, tabs
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.rows import SOURCES
from expo_bench.storage.run_folder import file_name

MOST_MARKS = 1500
_SIZES = {"wide": (900, 480), "narrow": (328, 300)}
_LEFT, _BOTTOM = 44, 26
_SHAPES = (
    "M-5,0a5,5 0 1 0 10,0a5,5 0 1 0 -10,0z", "M-5,-5h10v10h-10z", "M0,-6L6,5H-6z", "M0,-6L6,0L0,6L-6,0z",
    "M0,6L6,-5H-6z", "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
)  # fmt: skip


def plane_context(shelf: Shelf, entry: Entry, query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the template of the plane shows.

    Raises:
        UserError: the run has no scored candidates.
    """
    view = shelf.chains(entry)
    if view is None:
        raise UserError(f"{entry.path} has no scored candidates")
    source, level = query.get("source", ""), query.get("level", "")
    kept = [one for one in view.scored if _chosen(one, source, level)]
    shown = kept[:MOST_MARKS]
    levels = sorted({one.problem.level for one in view.scored if one.problem.level is not None})
    told = f"{len(kept):,} of {len(view.scored):,} chains under {short(view.main, 80)}"
    told += f"; the first {MOST_MARKS:,} are drawn." if len(kept) > MOST_MARKS else "."
    return {
        "title": f"{entry.name}: likely, and a signal",
        "crumbs": crumbs_of(shelf, entry, "Likelihood"),
        "tabs": tabs(entry),
        "tab": "Likelihood",
        "live": 0,
        "own": f"{entry.address}/plane.html",
        "sources": [("", "all"), *((one, SOURCE_WORDS[one]) for one in view.sources)],
        "source": source,
        "levels": [("", "all"), *((str(one), str(one)) for one in levels)],
        "level": level,
        "told": told,
        "planes": {
            name: trusted(_plane(shown, "../" * (entry.address.count("/") + 1) + entry.address, *size))
            for name, size in _SIZES.items()
        },
        "keys": [(SOURCE_WORDS[one], trusted(_key(SOURCES.index(one)))) for one in view.sources],
        "rows": [_row(entry, one) for one in shown],
    }


def _chosen(one: ScoredCandidate, source: str, level: str) -> bool:
    return source in ("", one.candidate.source) and level in ("", str(one.problem.level))


def chain_name(one: ScoredCandidate) -> str:
    """Return the name of a chain's page."""
    return file_name(f"{one.problem.problem_id}--{one.candidate.candidate_id}")


def _row(entry: Entry, one: ScoredCandidate) -> dict[str, Any]:
    row = one.likelihood
    return {
        "link": f"{entry.address}/chains/{quote(chain_name(one), safe='')}.html",
        "name": short(f"{one.problem.problem_id}, {one.candidate.candidate_id}", 90),
        "source": SOURCE_WORDS[one.candidate.source],
        "level": "" if one.problem.level is None else one.problem.level,
        "x": row.mean_logprob,
        "y": one.lift,
        "likely": number(row.mean_logprob),
        "lift": number(one.lift),
        "tokens": f"{row.n_tokens:,}",
    }


def _plane(shown: Sequence[ScoredCandidate], root: str, width: int, height: int) -> str:
    left, right = log_limits([place(one.likelihood.mean_logprob) for one in shown] or [0.0])
    ys = [one.lift for one in shown]
    low, high = min(*ys, 0.0, 0.0), max(*ys, 0.0, 0.0)
    low, high = (low, high) if high > low else (-1.0, 1.0)

    def x_of(at: float) -> float:
        return round(_LEFT + (at - left) / (right - left) * (width - _LEFT - 12), 1)

    def y_of(value: float) -> float:
        return round(14 + (high - value) / (high - low) * (height - 28 - _BOTTOM), 1)

    parts = []
    for value in _round_steps(low, high):
        y, shade = y_of(value), "muted" if value == 0 else "line"
        parts.append(f'<line x1="{_LEFT}" x2="{width}" y1="{y}" y2="{y}" stroke="var(--{shade})"/>')
        text = f"{value:g}".replace("-", "\N{MINUS SIGN}")
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{text}</text>')
    for at, text in log_ticks(left, right, 9, 100 if width > 400 else 32).items():
        parts.append(f'<text x="{x_of(at)}" y="{height - 6}" text-anchor="middle">{text}</text>')
    for one in shown:
        series = SOURCES.index(one.candidate.source)
        likely, lift = number(one.likelihood.mean_logprob), number(one.lift)
        words = f"{SOURCE_WORDS[one.candidate.source]}: log p {likely}, lift {lift}"
        link = f"{root}/chains/{quote(chain_name(one), safe='')}.html"
        move = f"translate({x_of(place(one.likelihood.mean_logprob))} {y_of(one.lift)})"
        parts.append(
            # the table below has the same links, for the keyboard
            f'<a href="{escape(link)}" tabindex="-1" aria-hidden="true"><path d="{_SHAPES[series]}" '
            f'transform="{move}" fill="var(--series-{series})" fill-opacity="0.7">'
            f"<title>{escape(words)}</title></path></a>"
        )
    title = "Answer lift, up, against log p a token, across, on a logarithmic axis"
    return f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="{title}">{"".join(parts)}</svg>'


def _round_steps(low: float, high: float) -> list[float]:
    """Return the round numbers from low to high, six or so of them."""
    least = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(least))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least)
    return [step * at for at in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _key(series: int) -> str:
    shape = f'<path d="{_SHAPES[series]}" transform="translate(8 8)" fill="var(--series-{series})"/>'
    return f'<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">{shape}</svg>'


def chain_context(shelf: Shelf, entry: Entry, name: str) -> dict[str, Any] | None:
    """Return what the template of one chain shows, token by token where that is known; None where there is none."""
    view = shelf.chains(entry)
    one = next((one for one in view.scored if chain_name(one) == name), None) if view else None
    if view is None or one is None:
        return None
    crumbs = [*crumbs_of(shelf, entry, "Likelihood"), (short(one.candidate.candidate_id, 60), "")]
    crumbs[-2] = ("Likelihood", f"{entry.address}/plane.html")
    chain, missing = _tokens(view, one)
    where = [one.problem.problem_id, None if one.problem.level is None else f"level {one.problem.level}"]
    row = one.likelihood
    about = f"{row.n_tokens:,} tokens · log p a token {number(row.mean_logprob)} · answer lift {number(one.lift)}"
    return {
        "title": f"{short(one.problem.problem_id, 60)}, {short(one.candidate.candidate_id, 60)}",
        "crumbs": crumbs,
        "tabs": [],
        "tab": "",
        "live": 0,
        "where": " · ".join(short(part, 80) for part in where if part),
        "question": excerpt(one.problem.question, 20_000),
        "answer": excerpt(one.problem.answer, 2000),
        "source": SOURCE_WORDS[one.candidate.source],
        "about": about,
        "chain": chain,
        "missing": missing,
        "text": excerpt(one.candidate.text, 100_000),
        "steps": step_labels(),
    }


def _tokens(view: ChainsView, one: ScoredCandidate) -> tuple[Any, str]:
    try:
        [chain] = chain_tokens(view, [one])
        return chain, ""
    except (UserError, ImportError) as error:
        return None, f"Not shown token by token: {short(str(error), 300)}."
