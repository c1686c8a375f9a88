"""Arrays in, numbers out: pass@k and its relatives, majority votes, clustered errors, resamples of problems.

P counts problems, N samples of a problem, K values of k, M metrics, D bootstrap draws. `n`, shape (P,), is the number
of samples of each problem and `c`, shape (P,), the number of correct ones. A rate is a share between 0 and 1. NaN
stands for "cannot be told".
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

CONFIDENCE = 0.95
# keeps a threshold such as 0.55 * 20 = 11.000000000000002 from asking for 12
_ROUNDING = 1e-9
# elements of a temporary array: votes stay in the cache
_VOTES = 2**18


def _check(n: Ints, c: Ints, k: int) -> None:
    if k < 1:
        raise ValueError(f"k={k}: k is at least 1")
    if n.size and k > n.min():
        raise ValueError(f"k={k} is more than n={n.min()}, the smallest number of samples of a problem")
    if ((c < 0) | (c > n)).any():
        raise ValueError("c is between 0 and n")


def pass_at_k_curve(n: Ints, c: Ints, ks: Sequence[int]) -> Floats:
    """Estimate without bias the chance that at least one of k samples is right, for every k from the same samples.

    pass@k = 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374). The ratio is a product over c of
    (n-i-k) / (n-i), i < c, so that nothing overflows and small rates keep their digits.

    Returns:
        Rates, shape (P, K).

    Raises:
        ValueError: some k is below 1 or above the smallest n, or some c is not between 0 and n.
    """
    for k in ks:
        _check(n, c, k)
    curve = np.empty((len(n), len(ks)))
    for size in np.unique(n):
        rows = n == size
        left = size - np.arange(c[rows].max(initial=0))[:, np.newaxis]
        missed = np.cumprod(np.maximum(left - np.asarray(ks), 0) / left, axis=0)
        # row c of the table: the chance that k samples miss all c correct ones
        table = np.concatenate([np.ones((1, len(ks))), missed])
        curve[rows] = 1 - table[c[rows]]
    return curve


def pass_at_k(n: Ints, c: Ints, k: int) -> Floats:
    """Return pass@k of each problem, shape (P,): one column of `pass_at_k_curve`, same arguments and errors."""
    return pass_at_k_curve(n, c, [k])[:, 0]


def _correct_among_k(n: Ints, c: Ints, k: int) -> Floats:
    # hypergeometric: chance that j of k samples drawn without replacement are right, shape (P, k + 1)
    _check(n, c, k)
    pairs, problem = np.unique(np.stack([n, c], axis=1), axis=0, return_inverse=True)
    size, right = pairs[:, :1], pairs[:, 1:]
    log_factorial = np.array([math.lgamma(i + 1) for i in range(int(n.max(initial=0)) + 1)])

    def log_choose(a: Ints, b: Ints) -> Floats:
        inside = (b >= 0) & (b <= a)
        b = np.where(inside, b, 0)
        return np.where(inside, log_factorial[a] - log_factorial[b] - log_factorial[a - b], -np.inf)

    j = np.arange(k + 1)
    chance = np.exp(log_choose(right, j) + log_choose(size - right, k - j) - log_choose(size, np.asarray(k)))
    return np.asarray(chance[problem.ravel()], dtype=np.float64)


def g_pass_at_k(n: Ints, c: Ints, k: int, tau: float) -> Floats:
    """Estimate the chance that at least ceil(tau * k) of k samples are right (never fewer than one).

    G-Pass@k_tau = sum over j from ceil(tau k) to k of C(c, j) C(n-c, k-j) / C(n, k), the k samples drawn without
    replacement (Liu et al. 2024, arXiv 2412.13147). As tau goes to 0 it is pass@k.

    Returns:
        Rates, shape (P,).

    Raises:
        ValueError: as `pass_at_k_curve`, or tau is not between 0 and 1.
    """
    if not 0 <= tau <= 1:
        raise ValueError(f"tau={tau}: tau is between 0 and 1")
    needed = max(1, math.ceil(tau * k - _ROUNDING))
    rates: Floats = np.minimum(_correct_among_k(n, c, k)[:, needed:].sum(axis=1), 1)
    return rates


def mg_pass_at_k(n: Ints, c: Ints, k: int) -> Floats:
    """Average G-Pass@k_tau over tau from 0.5 to 1.

    mG-Pass@k = 2/k * sum over i from ceil(k/2) + 1 to k of G-Pass@k_{i/k} (arXiv 2412.13147), which is
    2/k * E[max(j - ceil(k/2), 0)] for j correct among k. For odd k the published sum cannot reach 1.

    Returns:
        Rates, shape (P,).

    Raises:
        ValueError: as `pass_at_k_curve`, or k is odd.
    """
    if k % 2:
        raise ValueError(f"k={k}: mG-Pass@k is defined for even k")
    surplus = np.maximum(np.arange(k + 1) - k // 2, 0)
    rates: Floats = np.minimum(_correct_among_k(n, c, k) @ (surplus * (2 / k)), 1)
    return rates


def cover_at_tau(n: Ints, c: Ints, tau: float) -> Floats:
    """Tell which problems are solved in at least a share tau of their samples (arXiv 2510.08325): c / n >= tau.

    Returns:
        0 or 1, shape (P,).

    Raises:
        ValueError: tau is out of range, some n is below 1, or some c is not between 0 and n.
    """
    if not 0 < tau <= 1:
        raise ValueError(f"tau={tau}: tau is above 0 and at most 1")
    _check(n, c, 1)
    return np.asarray(c >= tau * n - _ROUNDING, dtype=np.float64)


def maj_at_k(classes: Ints, correct: Bools, k: int, rng: np.random.Generator, subsets: int = 16) -> Floats:
    """Estimate how often the plurality answer of k samples is right (majority vote, arXiv 2203.11171).

    A vote goes to a class of equivalent answers. Classes that tie for the most votes share the outcome evenly; a class
    is as right as its votes in the subset are, on average. Where nobody votes the outcome is wrong. Exact for k = 1
    and k = N; in between the mean over at least `subsets` random subsets, cut from whole permutations of the samples.

    Args:
        classes: answer class of each sample, -1 where it has no answer and does not vote, shape (P, N).
        correct: whether the sample is right, shape (P, N).
        k: samples that vote.
        rng: source of the subsets.
        subsets: the least number of subsets of each problem where k < N.

    Returns:
        Rates, shape (P,).

    Raises:
        ValueError: k is not between 1 and N.
    """
    problems, samples = classes.shape
    if not 1 <= k <= samples:
        raise ValueError(f"k={k} is not between 1 and n={samples}, the number of samples of a problem")
    blocks = samples // k
    permutations = 1 if k == samples else math.ceil(subsets / blocks)
    rate = np.zeros(problems)
    step = max(1, _VOTES // samples)
    for start in range(0, problems, step):
        part = slice(start, start + step)
        keys = np.where(classes[part] < 0, -2, classes[part].astype(np.int32) * 2 + correct[part])
        for _ in range(permutations):
            ballots = rng.permuted(keys, axis=1)[:, : blocks * k].reshape(-1, k)
            rate[part] += _plurality(ballots).reshape(-1, blocks).mean(axis=1)
    return rate / permutations


def _plurality(ballots: Ints) -> Floats:
    # ballots hold 2 * class + correct, negative for no vote, shape (B, k); one pass over the runs of the sorted rows
    ballots = np.sort(ballots, axis=1)
    classes = ballots >> 1
    begins = np.ones(ballots.shape, dtype=np.bool_)
    begins[:, 1:] = classes[:, 1:] != classes[:, :-1]
    runs = np.flatnonzero(begins)
    rows = np.flatnonzero(runs % ballots.shape[1] == 0)
    votes = np.diff(runs, append=ballots.size)
    votes[classes.ravel()[runs] < 0] = 0
    most = np.repeat(np.maximum.reduceat(votes, rows), np.diff(rows, append=len(runs)))
    wins = (votes == most) & (votes > 0)
    right = np.add.reduceat(ballots.ravel() & 1, runs) / np.maximum(votes, 1)
    winners = np.add.reduceat(wins.astype(np.int64), rows)
    rates: Floats = np.add.reduceat(right * wins, rows) / np.maximum(winners, 1)
    return rates


def clustered_mean(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the weighted mean over problems and its standard error, with the problem as the unit of sampling.

    The samples of a problem are a cluster; its mean is one observation. With m = sum w v / sum w the error is
    sqrt(P / (P-1) * sum (w (v - m))^2) / sum w (linearised ratio estimator, Cochran 1977 section 6; for equal weights
    it is the standard deviation over sqrt(P)). P counts the problems of weight above 0.

    Args:
        values: one value a problem, shape (P,) or (P, M).
        weights: non-negative weights, same shape.

    Returns:
        Mean and standard error, shape () or (M,); the mean is NaN without problems, the error with fewer than two.
    """
    problems = (weights > 0).sum(axis=0)
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights * values).sum(axis=0) / total
        spread = ((weights * (values - mean)) ** 2).sum(axis=0)
        error = np.sqrt(spread * problems / (problems - 1)) / total
    return np.asarray(mean), np.where(problems > 1, error, np.nan)


def resample_counts(problems: int, draws: int, seed: int) -> NDArray[np.uint8]:
    """Draw the bootstrap once: how often each problem is in each resample of P problems with replacement.

    The same counts serve every metric and every subset (`counts.take(rows, axis=1)`), so that their draws are paired.
    A count fits in 8 bits: it is at most P, and for P above 255 a count of 256 has a chance below 1e-500.

    Returns:
        Counts, shape (D, P); each row adds up to P.
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((draws, problems), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(rng.integers(problems, size=problems), minlength=problems)
    return counts
