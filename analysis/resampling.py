"""Intervals over problems: the bootstrap that draws whole problems, with all their chains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
_TAIL = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95% percentile interval over problems; None stands for "cannot be told"."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_problems: int


def mean(values: Floats, *, draws: int, seed: int) -> Estimate:
    """Return the mean over problems with its bootstrap interval (Efron 1979); none where all values are equal.

    Args:
        values: one value a problem, shape (P,); NaN where the problem has none.
        draws: resamples.
        seed: of the resamples; the same seed and P give the same resamples, so that differences are paired.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return Estimate(value=None, ci_low=None, ci_high=None, n_problems=0)
    value = float(known.mean())
    if len(known) < 2 or np.ptp(known) == 0:
        return Estimate(value=value, ci_low=None, ci_high=None, n_problems=len(known))
    rng = np.random.default_rng(seed)
    means = known[rng.integers(len(known), size=(draws, len(known)))].mean(axis=1)
    low, high = np.quantile(means, [_TAIL, 1 - _TAIL])
    return Estimate(value=value, ci_low=float(low), ci_high=float(high), n_problems=len(known))


def spearman(x: Floats, y: Floats) -> float:
    """Return Spearman's rank correlation of two arrays (N,), ties at their mean rank; NaN where one is constant."""
    a, b = (rankdata(one) - (len(one) + 1) / 2 for one in (x, y))
    below = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / below) if below > 0 else np.nan


def spearman_interval(
    x: Floats, y: Floats, problems: NDArray[np.intp] | Sequence[int], *, draws: int, seed: int
) -> Estimate:
    """Return Spearman's correlation over chains, with an interval that resamples problems.

    Args:
        x: one value a chain, shape (N,).
        y: likewise.
        problems: the problem of each chain, shape (N,).
        draws: resamples.
        seed: of the resamples.
    """
    known = ~(np.isnan(x) | np.isnan(y))
    x, y, owners = x[known], y[known], np.asarray(problems)[known]
    groups = [np.flatnonzero(owners == one) for one in np.unique(owners)]
    value = spearman(x, y) if len(x) > 2 else np.nan
    if np.isnan(value):
        return Estimate(value=None, ci_low=None, ci_high=None, n_problems=len(groups))
    if len(groups) < 2:
        return Estimate(value=value, ci_low=None, ci_high=None, n_problems=len(groups))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        rows = np.concatenate([groups[one] for one in rng.integers(len(groups), size=len(groups))])
        drawn.append(spearman(x[rows], y[rows]))
    low, high = np.nanquantile(drawn, [_TAIL, 1 - _TAIL])
    return Estimate(value=value, ci_low=float(low), ci_high=float(high), n_problems=len(groups))
