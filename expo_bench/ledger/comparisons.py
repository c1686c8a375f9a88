"""Arrays in, numbers out: one model against another on the same problems. docs/sharpening.md derives every number.

P counts problems, K values of k, M columns, D bootstrap draws. `n`, shape (P,), is the number of samples of each
problem from each of the two models, `c` the number of right ones. A cell is an index into CELLS. NaN stands for
"cannot be told".
"""

import math
from dataclasses import dataclass

import numpy as np

from expo_bench import intervals, stats
from expo_bench.stats import CONFIDENCE, Bools, Floats, Ints

CELLS = ("both", "base_only", "trained_only", "neither")
N_BINS = 11

# rates that differ by less are the same: bootstrap means are in single precision
_TIE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number for each column, shape (M,), with its 95% interval for problems like these."""

    value: Floats
    low: Floats
    high: Floats

    def part(self, columns: slice) -> "Estimate":
        """Return these columns alone."""
        return Estimate(value=self.value[columns], low=self.low[columns], high=self.high[columns])


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The same M columns for both models, and trained minus base."""

    base: Estimate
    trained: Estimate
    difference: Estimate
    draws: Floats
    """Difference in each bootstrap draw that holds a problem, shape (D', M)."""

    def part(self, columns: slice) -> "Paired":
        """Return these columns alone."""
        sides = (one.part(columns) for one in (self.base, self.trained, self.difference))
        return Paired(**dict(zip(("base", "trained", "difference"), sides, strict=True)), draws=self.draws[:, columns])


def coverage_cells(base_solved: Bools, trained_solved: Bools) -> Ints:
    """Return the cell of each problem, shape (P,)."""
    return np.where(base_solved, np.where(trained_solved, 0, 1), np.where(trained_solved, 2, 3))


def paired(base: Floats, trained: Floats, draws: int, seed: int) -> Paired:
    """Return means over problems of both models' rates and their difference, with intervals for problems like these.

    The rates' are those of `intervals.rates`, the difference's that of `intervals.differences`. The same draws of
    problems serve both models, so what makes a problem easy for both falls out of the drawn differences.

    Args:
        base: rates, shape (P, M).
        trained: rates, shape (P, M).
        draws: of the bootstrap.
        seed: of the draws.
    """
    columns = base.shape[1]
    both = np.concatenate([base, trained], axis=1)
    above, below = intervals.dirichlet_sums(both, np.ones_like(both), draws, seed)
    low, high = intervals.rate_ends(both, np.ones_like(both), above, below, seed)
    value = both.mean(axis=0)
    ends = intervals.differences(trained - base)
    return Paired(
        base=Estimate(value=value[:columns], low=low[:columns], high=high[:columns]),
        trained=Estimate(value=value[columns:], low=low[columns:], high=high[columns:]),
        difference=Estimate(value=value[columns:] - value[:columns], low=ends[0], high=ends[1]),
        draws=(above[:, columns:] - above[:, :columns]) / below[:, :columns],
    )


def crossover(difference: Floats) -> Floats:
    """Return the place of the first k at which the base's pass@k is above the trained model's; a tie is no crossing.

    Args:
        difference: trained minus base pass@k, ascending k, shape (D, K).

    Returns:
        Places, from 0, shape (D,); infinity where the base is never above.
    """
    crossed = difference < -_TIE
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1), np.inf)


def support(cells: Ints, draws: int, seed: int) -> Estimate:
    """Return SRR, NDR and NSCR (Invisible Leash, arXiv 2507.14843) with intervals for problems like these.

    With P solved by both, S by the base only and E by the trained model only: support retention P / (P + S), net
    discovery E / (P + E), net support change (E - S) / (P + E + S). NaN where the denominator is 0.

    Returns:
        Three numbers: M = 3.
    """
    kept, lost, new = (cells == cell for cell in range(3))
    values = np.stack([kept, new, new * 1.0 - lost], axis=1).astype(np.float64)
    weights = np.stack([kept | lost, kept | new, kept | lost | new], axis=1).astype(np.float64)
    value, _ = stats.clustered_mean(values, weights)
    low, high = np.full(3, np.nan), np.full(3, np.nan)
    low[:2], high[:2] = intervals.rates(values[:, :2], weights[:, :2], draws, seed)
    low[2:], high[2:] = intervals.differences(values[weights[:, 2] > 0, 2:])
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
    It is 1 where a policy always gives the same answer, right or wrong. A sample without an answer agrees with nothing.

    Args:
        place: problem of each sample, shape (T,).
        answers: answer class of each sample, from 0 and below 2^31; -1 for no answer.
        problems: number of problems.

    Returns:
        Chances, shape (P,); NaN for a problem with fewer than two samples.
    """
    told = answers >= 0
    keys, votes = np.unique(place[told].astype(np.int64) << 32 | answers[told].astype(np.int64), return_counts=True)
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
