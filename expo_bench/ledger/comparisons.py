"""Arrays in, numbers out: one model against another on the same problems. docs/sharpening.md derives every number.

P counts problems, K values of k, M columns, D bootstrap draws. `n`, shape (P,), is the number of samples of each
problem from each of the two models, `c` the number of right ones. A cell is an index into CELLS. NaN stands for
"cannot be told".
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import binomtest

from expo_bench import stats
from expo_bench.stats import CONFIDENCE, Bools, Floats, Ints

CELLS = ("both", "base_only", "trained_only", "neither")
N_BINS = 11

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
# chances below it add less than 1e-8 to a count over ten thousand problems
_NEGLIGIBLE = 1e-12
# rates that differ by less are the same: bootstrap means are in single precision
_TIE = 1e-6
_FLIPS_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number for each column, shape (M,), with its 95% interval over problems."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The same M columns for both models, and trained minus base."""

    base: Estimate
    trained: Estimate
    difference: Estimate
    draws: Floats
    """Difference in each bootstrap draw that holds a problem, shape (D', M)."""


def coverage_cells(base_solved: Bools, trained_solved: Bools) -> Ints:
    """Return the cell of each problem, shape (P,)."""
    return np.where(base_solved, np.where(trained_solved, 0, 1), np.where(trained_solved, 2, 3))


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


def chance_of_at_least(count: int, chances: Floats) -> float:
    """Return the chance that at least `count` of independent events happen, each with its own chance, shape (P,).

    The sum is Poisson-binomial; its distribution is built event by event.
    """
    distribution = np.ones(1)
    for chance in chances[chances > _NEGLIGIBLE]:
        distribution = np.append(distribution * (1 - chance), 0) + np.append(0, distribution * chance)
    return float(min(1.0, distribution[count:].sum()))


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


def paired(base: Floats, trained: Floats, counts: NDArray[np.uint8]) -> Paired:
    """Return means over problems of both models' rates and their difference, with paired bootstrap intervals.

    The same resamples of problems serve both models, so what makes a problem easy for both falls out of the difference.
    Where all problems have the same rate the interval is that of `stats.intervals`; where they have the same
    difference there is none.

    Args:
        base: rates, shape (P, M).
        trained: rates, shape (P, M).
        counts: from `stats.resample_counts`, the columns of these problems, shape (D, P).
    """
    columns = base.shape[1]
    both = np.concatenate([base, trained], axis=1)
    used = counts[counts.any(axis=1)]
    draws = stats.bootstrap_means(both, np.ones_like(both), used)
    low, high = _quantiles(draws) if len(both) > 1 else np.full((2, 2 * columns), np.nan)
    value = both.mean(axis=0)
    alike = np.flatnonzero(np.ptp(both, axis=0) <= _TIE)
    same = np.broadcast_to(value[alike], (len(both), len(alike)))
    # one resample is enough: the interval of equal rates follows from their number alone
    low[alike], high[alike] = stats.intervals(same, np.ones(same.shape), used[:1], np.ones(len(alike), dtype=np.bool_))
    change = trained - base
    difference = draws[:, columns:] - draws[:, :columns]
    ends = _quantiles(difference)
    ends[:, np.ptp(change, axis=0) <= _TIE] = np.nan
    return Paired(
        base=Estimate(value=value[:columns], low=low[:columns], high=high[:columns]),
        trained=Estimate(value=value[columns:], low=low[columns:], high=high[columns:]),
        difference=Estimate(value=change.mean(axis=0), low=ends[0], high=ends[1]),
        draws=difference,
    )


def _quantiles(draws: Floats) -> Floats:
    return np.asarray(np.quantile(draws, _TAILS, axis=0))


def crossover(difference: Floats) -> Floats:
    """Return the place of the first k at which the base's pass@k is at least the trained model's.

    Args:
        difference: trained minus base pass@k, ascending k, shape (D, K).

    Returns:
        Places, from 0, shape (D,); infinity where the trained model stays above.
    """
    crossed = difference <= _TIE
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1), np.inf)


def support(cells: Ints, counts: NDArray[np.uint8]) -> Estimate:
    """Return SRR, NDR and NSCR (Invisible Leash, arXiv 2507.14843) with bootstrap intervals over problems.

    With P solved by both, S by the base only and E by the trained model only: support retention P / (P + S), net
    discovery E / (P + E), net support change (E - S) / (P + E + S). NaN where the denominator is 0.

    Returns:
        Three numbers: M = 3.
    """
    kept, lost, new = (cells == cell for cell in range(3))
    values = np.stack([kept, new, new * 1.0 - lost], axis=1).astype(np.float64)
    weights = np.stack([kept | lost, kept | new, kept | lost | new], axis=1).astype(np.float64)
    value, _ = stats.clustered_mean(values, weights)
    low, high = stats.intervals(values, weights, counts, np.array([True, True, False]))
    return Estimate(value=value, low=low, high=high)


def accuracy_flows(base: tuple[Ints, Ints], trained: tuple[Ints, Ints]) -> Ints:
    """Count problems by accuracy before and after, bins {0}, (0, 0.1], ..., (0.9, 1].

    Args:
        base: n and c of each problem.
        trained: n and c of each problem.

    Returns:
        Problems, shape (11, 11): row of the base's bin, column of the trained model's.
    """
    flows = np.zeros((N_BINS, N_BINS), dtype=np.int64)
    np.add.at(flows, (_bin(*base), _bin(*trained)), 1)
    return flows


def _bin(n: Ints, c: Ints) -> Ints:
    # ceil(10 c / n) in integers: 0.1 and its like have no exact float
    return np.asarray(-(-10 * c // n))


def agreement(place: Ints, answers: Ints, problems: int) -> Floats:
    """Return the chance that two different samples of a problem give the same answer, without bias.

    sum over answers a of m_a (m_a - 1) / (n (n - 1)), m_a of the problem's n samples giving a: Simpson's index (1949).
    It is 1 where a policy always gives the same answer, right or wrong.

    Args:
        place: problem of each sample, shape (T,).
        answers: answer class of each sample, below 2^31; no answer is a class too.
        problems: number of problems.

    Returns:
        Chances, shape (P,); NaN for a problem with fewer than two samples.
    """
    keys, votes = np.unique(place.astype(np.int64) << 32 | (answers.astype(np.int64) + 1), return_counts=True)
    alike = np.bincount(keys >> 32, weights=votes * (votes - 1.0), minlength=problems)
    n = np.bincount(place, minlength=problems)
    return np.where(n > 1, alike / np.maximum(n * (n - 1), 1), np.nan)


def zero_bound(n: int) -> float:
    """Return the highest success rate that n failures in n samples leave possible: 1 - 0.05^(1/n), 95% one-sided."""
    return float(-math.expm1(math.log(1 - CONFIDENCE) / n))


def right_above_wrong(scores: Floats, correct: Bools) -> float:
    """Return the chance that a right sample of a problem has a higher score than a wrong one, ties halved.

    The area under the ROC curve, by ranks (Mann and Whitney 1947); NaN without a right or a wrong sample.
    """
    right, wrong = int(correct.sum()), int((~correct).sum())
    if not right or not wrong:
        return math.nan
    _, place, size = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(size) - (size - 1) / 2)[place]
    return float((ranks[correct].sum() - right * (right + 1) / 2) / (right * wrong))
