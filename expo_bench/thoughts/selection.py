"""Which thoughts are learned from: by length, perplexity and level, and not too many of one problem."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from pydantic import Field

from expo_bench.rows import Thought
from expo_bench.settings import Settings


class Selection(Settings):
    """What is taken; with no setting, everything."""

    min_tokens: int = Field(default=0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    min_perplexity: float | None = Field(default=None, ge=1)
    max_perplexity: float | None = Field(default=None, ge=1)
    highest_perplexity: float | None = Field(default=None, gt=0, le=1)
    """Take this share of what is left by the limits, those of the highest perplexity; None: all."""
    per_problem: int | None = Field(default=None, ge=1)
    """Thoughts of one problem at most; the longest first, since long thoughts are what is to be learned."""
    levels: dict[int, float] | None = None
    """Level -> its share of the result (the shares are made to add up to 1), others are left out; as many as
    the scarcest level allows. None: the levels as they come."""
    at_most: int | None = Field(default=None, ge=1)

    @property
    def needs_perplexity(self) -> bool:
        """Whether thoughts must be scored first."""
        return any(one is not None for one in (self.min_perplexity, self.max_perplexity, self.highest_perplexity))


def select(rows: Sequence[Thought], chosen: Selection, seed: int) -> tuple[list[Thought], Counter[str]]:
    """Return what is taken, in the order of `rows`, and how many were left out, by reason.

    Args:
        rows: with n_tokens, and perplexity where the selection asks for it; a thought without one is left out.
        chosen: the limits; applied in their order.
        seed: decides which are taken where any would do.
    """
    left_out: Counter[str] = Counter()
    kept = []
    for row in rows:
        reason = _outside(row, chosen)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(row)
    for reason, step in (
        ("perplexity: not among the highest", _highest),
        ("enough of the problem", _capped),
        ("difficulty mix", _mixed),
        ("more than wanted", _at_most),
    ):
        taken = step(kept, chosen, seed)
        left_out[reason] += len(kept) - len(taken)
        kept = taken
    names = {row.thought_id for row in kept}
    return [row for row in rows if row.thought_id in names], +left_out


def _outside(row: Thought, chosen: Selection) -> str | None:
    length = row.n_tokens or 0
    if length < chosen.min_tokens:
        return "too few tokens"
    if chosen.max_tokens is not None and length > chosen.max_tokens:
        return "too many tokens"
    if chosen.needs_perplexity and row.perplexity is None:
        return "perplexity: not scored"
    if chosen.min_perplexity is not None and (row.perplexity or 0) < chosen.min_perplexity:
        return "perplexity: too low"
    if chosen.max_perplexity is not None and (row.perplexity or 0) > chosen.max_perplexity:
        return "perplexity: too high"
    return None


def _highest(rows: list[Thought], chosen: Selection, seed: int) -> list[Thought]:
    if chosen.highest_perplexity is None:
        return rows
    ranked = sorted(rows, key=lambda row: (-(row.perplexity or 0), _rank(row, seed)))
    return ranked[: math.ceil(len(rows) * chosen.highest_perplexity)]


def _capped(rows: list[Thought], chosen: Selection, seed: int) -> list[Thought]:
    if chosen.per_problem is None:
        return rows
    by_problem: dict[str, list[Thought]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (-(row.n_tokens or 0), _rank(row, seed))):
        by_problem[row.problem_id].append(row)
    return [row for listed in by_problem.values() for row in listed[: chosen.per_problem]]


def _mixed(rows: list[Thought], chosen: Selection, seed: int) -> list[Thought]:
    if chosen.levels is None:
        return rows
    whole = sum(chosen.levels.values())
    by_level = {
        level: sorted((row for row in rows if row.level == level), key=lambda row: _rank(row, seed))
        for level, share in chosen.levels.items()
        if share > 0
    }
    size = min((len(listed) * whole / chosen.levels[level] for level, listed in by_level.items()), default=0)
    # rounding must not take from a level what it has not
    return [
        row for level, listed in by_level.items() for row in listed[: int(size * chosen.levels[level] / whole + 1e-9)]
    ]


def _at_most(rows: list[Thought], chosen: Selection, seed: int) -> list[Thought]:
    return rows if chosen.at_most is None else sorted(rows, key=lambda row: _rank(row, seed))[: chosen.at_most]


def _rank(row: Thought, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {row.thought_id}".encode()).digest()
