"""pass@k for k above n: what the samples leave possible, whatever the difficulties of the problems are.

The counts c of n samples say something about the law G of success rates, and nothing that no law of the same likelihood
could deny. The interval at k holds every value of f(G) = sum over p of G(p) (1 - (1-p)^k) that some law with a
log-likelihood within 1.92 of the highest gives: a profile likelihood interval (Wilks 1938), no family assumed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammaln, xlog1py, xlogy

from expo_bench.stats import Floats, Ints

FARTHEST = 4
"""pass@k is told up to so many times n; beyond, the interval is nearly empty of information at any usual size."""
_DROP = 1.92
# success rates on which a law may sit: dense near 0 on a logarithmic scale, where pass@k of large k is decided
_GRID = np.unique(np.concatenate([[0.0, 1.0], np.logspace(-6, -1.3, 90), np.linspace(0.05, 1, 60)]))
_STEPS = 300
_SEARCH = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """pass@k above n, shape (K,) each."""

    k: tuple[int, ...]
    low: Floats
    high: Floats
    forecast: Floats
    """Of a beta-binomial law: precise, and wrong where difficulties follow no Beta distribution."""


def beyond(n: Ints, c: Ints, ks: Sequence[int]) -> Beyond:
    """Return the interval of pass@k that the counts leave possible, and the forecast of one family.

    Args:
        n: samples of each problem, shape (P,).
        c: right ones.
        ks: above the smallest n and up to `FARTHEST` times it.
    """
    pairs, times = np.unique(np.stack([n, c], axis=1), axis=0, return_counts=True)
    chances = _binomial(pairs[:, :1], pairs[:, 1:])
    # rows of far-off rates underflow to 0; every count is possible somewhere on the grid
    flat = np.full((len(_GRID), 1), 1 / len(_GRID))
    law, best = _tilted(chances, times, np.zeros_like(flat), flat, 5 * _STEPS)
    reached = np.stack([-np.expm1(k * np.log1p(-np.minimum(_GRID, 1 - 1e-12))) for k in ks], axis=1)
    ends = _ends(chances, times, np.concatenate([1 - reached, reached], axis=1), law, float(best[0]))
    return Beyond(k=tuple(ks), low=1 - ends[: len(ks)], high=ends[len(ks) :], forecast=_forecast(n, c, ks))


def _binomial(n: Ints, c: Ints) -> Floats:
    """Return the chance of c right of n at each rate of the grid, shape (C, G)."""
    choices = gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1)
    return np.asarray(np.exp(choices + xlogy(c, _GRID) + xlog1py(n - c, -_GRID)))


def _ends(chances: Floats, times: Ints, reached: Floats, law: Floats, best: float) -> Floats:
    """Return the most that the law can make of sum G f while its likelihood stays near the best: by a multiplier.

    Args:
        chances: of each count at each rate of the grid, shape (C, G).
        times: problems with this count, shape (C,).
        reached: functions f of the rate, shape (G, E).
        law: the likeliest, shape (G, 1).
        best: its log-likelihood.
    """
    low, high = np.zeros(reached.shape[1]), np.full(reached.shape[1], 9.0)
    farthest = np.asarray((law * reached).sum(axis=0))
    for _ in range(_SEARCH):
        middle = (low + high) / 2
        tilted, likelihood = _tilted(chances, times, np.exp(middle) * reached, law, _STEPS)
        near = likelihood >= best - _DROP
        farthest = np.where(near, np.maximum(farthest, (tilted * reached).sum(axis=0)), farthest)
        low, high = np.where(near, middle, low), np.where(near, high, middle)
    return farthest


def _tilted(chances: Floats, times: Ints, bonus: Floats, law: Floats, steps: int) -> tuple[Floats, Floats]:
    """Return the laws with the greatest log-likelihood + sum of G x bonus, by EM, and their log-likelihoods alone.

    Args:
        chances: shape (C, G).
        times: shape (C,).
        bonus: one a law, shape (G, E).
        law: where to begin, shape (G, 1) or (G, E).
        steps: of EM.
    """
    # EM never leaves a 0
    law = 0.95 * np.broadcast_to(law, bonus.shape) + 0.05 / len(law)
    for _ in range(steps):
        law = law * (chances.T @ (times[:, np.newaxis] / (chances @ law)) + bonus)
        law /= law.sum(axis=0)
    return law, np.asarray(times @ np.log(chances @ law))


def _forecast(n: Ints, c: Ints, ks: Sequence[int]) -> Floats:
    """Return pass@k of the Beta law of the greatest likelihood: 1 - B(a, b + k) / B(a, b) (as in arXiv 2510.05197)."""
    # half a second, which nothing else here needs
    from scipy.optimize import minimize

    def surprise(logs: Floats) -> float:
        a, b = np.exp(logs)
        return -float((betaln(c + a, n - c + b) - betaln(a, b)).sum())

    found = minimize(surprise, np.zeros(2), method="L-BFGS-B", bounds=[(-7, 7)] * 2)
    a, b = np.exp(found.x)
    return np.array([1 - np.exp(gammaln(b + k) + gammaln(a + b) - gammaln(b) - gammaln(a + b + k)) for k in ks])
