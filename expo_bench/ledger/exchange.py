"""Arrays in, p values out: what chance would do if both models were one policy. docs/sharpening.md derives every test.

P counts problems, M columns. `n`, shape (P,), is the number of samples of each problem from each of the two models.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from scipy.special import gammaln, ndtr, xlog1py, xlogy
from scipy.stats import binomtest

from expo_bench.stats import Floats, Ints

Key = TypeVar("Key", bound=Hashable)

# chances below it add less than 1e-8 to a count over ten thousand problems
_NEGLIGIBLE = 1e-12
_NOTHING = 1e-30
# sums that differ by less are the same
_TIE = 1e-6
_FLIPS_AT_ONCE = 2**22
# a problem counts in the weighted test by its right samples, up to so many: beyond, its chance is 1 in 16,000
_MOST_WEIGHT = 14
WEIGHTED_FROM = 32
"""Samples a problem from which the weighted test decides; with fewer, few problems have more than one right sample."""


def swap_chance(n: Ints, right: Ints) -> Floats:
    """Return the chance that a problem is "trained only" if its 2n samples are dealt to the two models at random.

    `right` of the 2n samples are right. If both models are the same policy, each half of the samples is as likely to be
    the base's: all right ones fall to the other model with the chance C(2n - right, n) / C(2n, n), and 0 where none is
    right. By symmetry it is also the chance of "base only".

    Returns:
        Chances, shape (P,).
    """
    possible = (right > 0) & (right <= n)
    right = np.where(possible, right, 0)
    log_chance = gammaln(2 * n - right + 1) - gammaln(n - right + 1) - gammaln(2 * n + 1) + gammaln(n + 1)
    return np.where(possible, np.exp(log_chance), 0.0)


def chance_of_at_least(least: int, chances: Floats, jumps: Ints | None = None) -> float:
    """Return the chance that independent events, each with its own chance and jump, add up to at least `least`.

    With jumps of 1 the sum is Poisson-binomial. Events of one chance and jump are binomial together; their
    distributions are convolved.

    Args:
        least: the sum.
        chances: of the events, shape (P,).
        jumps: what each adds, whole and positive, shape (P,); 1 where None.
    """
    jumps = np.ones(len(chances), dtype=np.int64) if jumps is None else jumps
    used = chances > _NEGLIGIBLE
    kinds, sizes = np.unique(np.stack([chances[used], jumps[used]], axis=1), axis=0, return_counts=True)
    distribution: Floats = np.ones(1)
    for (chance, jump), size in zip(kinds, sizes, strict=True):
        count = np.arange(size + 1)
        pmf = np.exp(gammaln(size + 1) - gammaln(count + 1) - gammaln(size - count + 1)
                     + xlogy(count, chance) + xlog1py(size - count, -chance))  # fmt: skip
        # counts beyond add nothing, and make the convolution long
        count = count[: np.flatnonzero(pmf > _NOTHING)[-1] + 1]
        several: Floats = np.zeros(count[-1] * int(jump) + 1)
        several[count * int(jump)] = pmf[count]
        distribution = np.asarray(np.convolve(distribution, several), dtype=np.float64)
    return float(min(1.0, distribution[max(0, least) :].sum()))


def weight(right: Ints) -> Ints:
    """Return what a problem adds to the weighted test: its right samples among both models', 14 at most, shape (P,)."""
    return np.minimum(right, _MOST_WEIGHT)


def weighted_p(only: np.ndarray, n: Ints, right: Ints) -> float:
    """Test whether one model alone solves more, and surer, than by exchange: T = sum of weights over its problems.

    A problem with one right sample (chance 1/2) says less than one with nine (chance near 1/512). Given the number of
    right samples, each problem is "only" this model's with its `swap_chance`, independently, so that the distribution
    of T is exact.

    Args:
        only: whether this model alone solves the problem, shape (P,).
        n: samples of each model.
        right: right ones of both models, shape (P,).
    """
    weights = weight(right)
    some = right > 0
    return chance_of_at_least(int(weights[only].sum()), swap_chance(n, right)[some], weights[some])


def same_problems_p(n: Ints, base: Ints, trained: Ints) -> float:
    """Test whether the two models solve these problems at one rate each, two-sided (Mantel and Haenszel 1959).

    Given s right ones among the 2n samples of a problem, the trained model's are hypergeometric: mean s / 2, variance
    s (2n - s) / (4 (2n - 1)). Their sum over problems is compared with the normal distribution, with a correction of
    1/2 for continuity. Nothing is said of other problems.

    Args:
        n: samples of each model, shape (P,).
        base: right ones of the base, shape (P,).
        trained: right ones of the trained model, shape (P,).
    """
    right = base + trained
    variance = float((right * (2 * n - right) / (4 * np.maximum(2 * n - 1, 1))).sum())
    apart = abs(float((trained - right / 2).sum()))
    return float(2 * ndtr(-max(0.0, apart - 0.5) / np.sqrt(variance))) if variance > 0 else 1.0


def sign_flip_p(differences: Floats, draws: int, seed: int) -> Floats:
    """Test by permutation whether the mean of paired differences is 0, two-sided.

    If the two models are the same policy, exchanging them on any problem changes nothing: each difference is as likely
    to have the other sign. p = (1 + draws with a sum at least as far from 0) / (1 + draws) (Phipson and Smyth 2010).

    Args:
        differences: one a problem and column, shape (P, M).
        draws: random exchanges.
        seed: their source.

    Returns:
        p, shape (M,).
    """
    rng = np.random.default_rng(seed)
    observed = np.abs(differences.sum(axis=0))
    beyond = np.zeros(differences.shape[1])
    step = max(1, _FLIPS_AT_ONCE // max(1, len(differences)))
    for start in range(0, draws, step):
        flips = rng.integers(0, 2, size=(min(step, draws - start), len(differences)), dtype=np.int8)
        sums = (2 * flips - 1).astype(np.float64) @ differences
        beyond += (np.abs(sums) >= observed - _TIE).sum(axis=0)
    p: Floats = (1 + beyond) / (1 + draws)
    return p


def mcnemar_p(base_only: int, trained_only: int) -> float:
    """Test exactly whether the two models solve different numbers of problems (McNemar 1947), two-sided.

    Among the problems that one model alone solves, either is as likely: a binomial test with 1/2; 1 without any.
    """
    discordant = base_only + trained_only
    return float(binomtest(trained_only, discordant, 0.5).pvalue) if discordant else 1.0


def holm(ps: Mapping[Key, float]) -> dict[Key, float]:
    """Return p values that hold for the whole family at once (Holm 1979): the i-th smallest of m times m - i + 1."""
    adjusted: dict[Key, float] = {}
    most = 0.0
    for place, (name, p) in enumerate(sorted(ps.items(), key=lambda pair: pair[1])):
        most = max(most, min(1.0, p * (len(ps) - place)))
        adjusted[name] = most
    return {name: adjusted[name] for name in ps}
