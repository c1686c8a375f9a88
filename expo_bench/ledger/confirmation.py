"""Is a problem that only the trained model solved new, or was it rare before? Fresh samples of the base tell."""

import math
from typing import Any

from scipy.stats import binom

RATE = 1 / 256
"""A problem that the base solves at least so often is not called new."""
SAMPLES = 1024
"""Fresh samples of the base, of each "trained only" problem."""
_LEVEL = 0.05
_MOST_SAMPLES = 2**20


def confirm(tried: int, unsolved: int, samples: int, rate: float, *, family: int = 1) -> dict[str, Any]:
    """Test whether the base solves every one of these problems at `rate` at least, from fresh samples.

    If it does, each stays unsolved with a chance of (1 - rate)^samples at most, so that the number of unsolved ones is
    at most Binomial(tried, (1 - rate)^samples). The samples are fresh: that the problems were chosen by earlier ones
    does not matter. One fresh solution settles a problem: the base solves it, if rarely.

    Args:
        tried: "trained only" problems.
        unsolved: those that no fresh sample of the base solved.
        samples: fresh samples of each, the smallest number.
        rate: as `RATE`.
        family: trained models that are confirmed at once; p is multiplied by it (Bonferroni).

    Returns:
        `answer` ("new", "rare before", "not decided", or "nothing to confirm"), p, and `more_samples` that would decide
        if the unsolved problems stay unsolved; null where nothing is left to decide.
    """
    p = min(1.0, family * float(binom.sf(unsolved - 1, tried, (1 - rate) ** samples))) if tried else 1.0
    found = {"problems": tried, "unsolved": unsolved, "samples": samples, "rate": rate, "p": p, "more_samples": None}
    if not tried:
        return {**found, "answer": "nothing to confirm"}
    if not unsolved:
        return {**found, "answer": "rare before"}
    if p <= _LEVEL:
        return {**found, "answer": "new"}
    return {**found, "answer": "not decided", "more_samples": _needed(tried, unsolved, rate, _LEVEL / family) - samples}


def _needed(tried: int, unsolved: int, rate: float, level: float) -> int:
    """Return the samples of a problem at which so many unsolved ones would be enough."""
    low, high = 1, _MOST_SAMPLES
    while low < high:
        middle = (low + high) // 2
        enough = binom.sf(unsolved - 1, tried, math.exp(middle * math.log1p(-rate))) <= level
        low, high = (low, middle) if enough else (middle + 1, high)
    return low
