"""Before any sample is drawn: what difference so many problems and samples can show, and how often a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtri

from expo_bench.ledger.exchange import WEIGHTED_FROM, chance_of_at_least, swap_chance, weighted_p
from expo_bench.stats import Floats, Ints

POWER = 0.8
_LEVEL = 0.05
# claims of a verdict: the first of a family must reach this level (Holm)
_FAMILY = 4
# what training does to a problem, on the logit, varies by so much around its mean
_EFFECT_SPREAD = 0.7
_MANY = 20_000
_PAIRS = 150
_SEARCH = 30
# problems that the base solves less often count as never solved by it
_NEVER = 1 / 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What so many samples of each problem show in four of five cases."""

    n: int
    these: float
    """Least true rise of pass@1 on these problems."""
    like_these: float
    """Least true rise of mean pass@1 on problems like these."""
    verdict: float | None
    """How often a verdict says "new problems" where some became solvable; None with one sample."""


def difficulty(mean: float, spread: float) -> Floats:
    """Return success rates of many problems, Beta(mean spread, (1 - mean) spread): a small spread is extreme."""
    return np.random.default_rng(0).beta(mean * spread, (1 - mean) * spread, size=_MANY)


def difficulty_of(n: Ints, c: Ints) -> Floats:
    """Return success rates that the counts of a run make likely: each problem's Beta(1/2 + c, 1/2 + n - c), drawn."""
    rng = np.random.default_rng(0)
    at = rng.integers(len(n), size=_MANY)
    return rng.beta(0.5 + c[at], 0.5 + (n - c)[at])


def least_rise(rates: Floats, problems: int, n: int) -> tuple[float, float]:
    """Return the least rise of pass@1 that two runs show with 80% power at 5%, two-sided: these, and like these.

    The rise is 2.80 standard errors, se^2 = (variance of the true differences + sampling variance of both / n) / P; on
    these problems the first term is none. Training adds to the logit, by what is looked for, give or take 0.7.
    """
    factor = float(ndtri(1 - _LEVEL / 2) + ndtri(POWER))
    noise = np.random.default_rng(1).normal(0, _EFFECT_SPREAD, size=len(rates))
    odds = logit(np.clip(rates, 1e-9, 1 - 1e-9)) + noise
    found = []
    for fixed in (True, False):
        low, high = 0.0, 12.0
        for _ in range(_SEARCH):
            middle = (low + high) / 2
            raised = expit(odds + middle)
            sampling = float((rates * (1 - rates) + raised * (1 - raised)).mean()) / n
            spread = 0.0 if fixed else float((raised - rates).var())
            enough = float((raised - rates).mean()) >= factor * np.sqrt((spread + sampling) / problems)
            low, high = (low, middle) if enough else (middle, high)
        found.append(float((expit(odds + high) - rates).mean()) if high < 11.9 else np.nan)
    return found[0], found[1]


def verdict_power(rates: Floats, problems: int, n: int, share: float, to: float) -> float:
    """Return how often a ledger says "new problems" where a share of the never solved ones rise to a rate `to`.

    Simulated, at the level that the first of a family of four claims has to reach.
    """
    rng = np.random.default_rng(n)
    size, seen = np.full(problems, n), 0
    for _ in range(_PAIRS):
        p = rng.choice(rates, size=problems)
        raised = (p < _NEVER) & (rng.random(problems) < share)
        base, trained = rng.binomial(n, p), rng.binomial(n, np.where(raised, to, p))
        only = (base == 0) & (trained > 0)
        if n >= WEIGHTED_FROM:
            chance = weighted_p(only, size, base + trained)
        else:
            chance = chance_of_at_least(int(only.sum()), swap_chance(size, base + trained))
        seen += chance <= _LEVEL / _FAMILY
    return seen / _PAIRS


def table(rates: Floats, problems: int, ns: Sequence[int], share: float, to: float) -> list[Seen]:
    """Return what each number of samples shows."""
    rows = []
    for n in ns:
        these, like_these = least_rise(rates, problems, n)
        power = verdict_power(rates, problems, n, share, to) if n > 1 else None
        rows.append(Seen(n=n, these=these, like_these=like_these, verdict=power))
    return rows
