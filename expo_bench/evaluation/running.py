"""The estimate of a run that is still drawn."""

import numpy as np

from expo_bench import intervals, stats
from expo_bench.stats import Ints

_DRAWS = 1000


def running_rate(n: Ints, c: Ints) -> tuple[float, float, float]:
    """Return the mean share of right samples, and its 95% interval over problems; NaN for one problem.

    It is avg@n over the problems that have samples, each with those that it has: see docs/metrics.md.

    Args:
        n: samples of each problem, at least one, shape (P,).
        c: right ones, shape (P,).
    """
    rates, weights = (c / n)[:, np.newaxis], np.ones((len(n), 1))
    value, _ = stats.clustered_mean(rates, weights)
    low, high = intervals.rates(rates, weights, _DRAWS, seed=0)
    return float(value[0]), float(low[0]), float(high[0])
