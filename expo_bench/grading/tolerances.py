"""Gold answers with a tolerance, written behind them: 4.2 (tolerance 0.1), or one for each of several numbers."""

import re
from collections.abc import Sequence
from math import isfinite

_WRITTEN = re.compile(r"\s*\(tolerances? ([^()]{1,200})\)\s*\Z")


def with_tolerance(answer: str, tolerances: Sequence[float]) -> str:
    """Return the gold answer with how far a right number may be away from it."""
    return f"{answer} (tolerance {', '.join(f'{one:g}' for one in tolerances)})" if answer and tolerances else answer


def without_tolerance(gold: str) -> tuple[str, list[float]]:
    """Return the gold answer without its tolerances, and them; none where it has none, or what stands there is none."""
    found = _WRITTEN.search(gold)
    if found is None:
        return gold, []
    try:
        told = [float(one) for one in found[1].split(",")]
    except ValueError:
        return gold, []
    return (gold[: found.start()], told) if all(isfinite(one) and one > 0 for one in told) else (gold, [])
