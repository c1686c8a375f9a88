"""Intervals against closed forms, scipy and simulation; `python -m analysis.coverage` prints the whole tables."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from expo_bench import intervals, stats
from expo_bench.errors import span


def rate(values: np.ndarray, draws: int = 20_000) -> tuple[float, float]:
    column = values[:, np.newaxis]
    low, high = intervals.rates(column, np.ones(column.shape), draws, 0)
    return float(low[0]), float(high[0])


class TestRates:
    @pytest.mark.parametrize("solved", [0, 1, 7, 19, 20])
    def test_ends_of_zeros_and_ones_are_beta_quantiles(self, solved: int) -> None:
        values = (np.arange(20) < solved).astype(float)
        low = scipy.stats.beta.ppf(0.025, solved, 20 - solved + 0.5) if solved else 0
        high = scipy.stats.beta.ppf(0.975, solved + 0.5, 20 - solved) if solved < 20 else 1
        assert rate(values) == pytest.approx((low, high), abs=0.006)

    def test_no_jump_where_the_last_problem_is_solved(self) -> None:
        nearly, all_of_them = np.full(14, 1.0), np.full(14, 1.0)
        nearly[0] = 0.98
        assert rate(nearly) == pytest.approx(rate(all_of_them), abs=0.01)

    def test_weights_are_samples(self) -> None:
        rng = np.random.default_rng(1)
        values, weights = rng.random((40, 1)), rng.integers(1, 9, size=(40, 1)).astype(float)
        low, high = intervals.rates(values, weights, 4000, 0)
        again = intervals.rates(values, 10 * weights, 4000, 0)
        mean, error = stats.clustered_mean(values, weights)
        assert (low[0], high[0]) == pytest.approx((again[0][0], again[1][0]), abs=1e-5)
        assert high[0] - low[0] == pytest.approx(2 * 1.96 * error[0], rel=0.15)
        assert low[0] < mean[0] < high[0]

    # rows of the table in docs/metrics.md
    @pytest.mark.parametrize(("problems", "a", "b"), [(15, 0.5, 0.7), (40, 0.5, 0.7), (15, 0.3, 2), (100, 0.3, 2)])
    def test_covers_the_truth(self, problems: int, a: float, b: float) -> None:
        rng = np.random.default_rng(5)
        rates = rng.binomial(8, rng.beta(a, b, size=(problems, 600))) / 8
        low, high = intervals.rates(rates, np.ones(rates.shape), 1000, 0)
        assert 0.92 <= np.mean((low <= a / (a + b)) & (high >= a / (a + b))) <= 0.985

    def test_one_problem_has_no_interval(self) -> None:
        assert np.isnan(rate(np.array([0.5]))).all()


class TestMeans:
    def test_symmetric_values_are_students(self) -> None:
        values = np.random.default_rng(2).normal(size=(200, 1))
        low, high = intervals.means(values, np.ones(values.shape), stats.resample_counts(200, 4000, 0))
        theirs = scipy.stats.t.interval(0.95, 199, values.mean(), scipy.stats.sem(values)[0])
        assert (low[0], high[0]) == pytest.approx(theirs, abs=0.02)

    def test_skewed_values_reach_further_on_the_long_side(self) -> None:
        values = np.random.default_rng(3).lognormal(0, 1.5, size=(40, 1))
        low, high = intervals.means(values, np.ones(values.shape), stats.resample_counts(40, 4000, 0))
        assert high[0] - values.mean() > 1.3 * (values.mean() - low[0])

    def test_nothing_to_tell(self) -> None:
        values = np.array([[1.0, 2.0], [1.0, 5.0]])
        low, high = intervals.means(values, np.array([[1.0, 1.0], [1.0, 0.0]]), stats.resample_counts(2, 50, 0))
        assert np.isnan([low, high]).all()


class TestDifferences:
    def test_by_hand(self) -> None:
        # N = 4, m = 0.6 / 4, s^2 = (0.01 + 0.04 + 0.09 + 0.09) / 4 - m^2, two degrees of freedom
        low, high = intervals.differences(np.array([[0.9], [-0.1], [0.5]]))
        reach = 4.302653 * math.sqrt((1.07 + 0.81) / 4 - 0.325**2) / 2
        assert (low[0], high[0]) == pytest.approx((max(-1, 0.325 - reach), min(1, 0.325 + reach)), abs=1e-6)
        # two problems' worth carry the spread, 0.14^2 / 0.0098: an unseen one may differ by 1 / sqrt(2 (1 + 2))
        low, high = intervals.differences(np.array([[0.1], [0.2], [0.3]]))
        reach = 4.302653 * math.sqrt(((0.14 + 1 / 6) / 4 - 0.15**2) / 4)
        assert (low[0], high[0]) == pytest.approx((0.15 - reach, 0.15 + reach), abs=1e-6)

    def test_rare_large_differences_are_reckoned_with(self) -> None:
        """Four in ten problems are never solved, three always; of the rest only the hardest change much at k = 32."""
        rng, n, k = np.random.default_rng(0), 64, 32
        where, rest = rng.random((2, 30, 1000))
        p = np.where(where < 0.4, 0.0, np.where(where < 0.7, 1.0, rest))
        table = stats.pass_at_k(np.full(n + 1, n), np.arange(n + 1), k)
        found = table[rng.binomial(n, p)] - table[rng.binomial(n, (p + p**2) / 2)]
        # 0.3 times the mean over u of (1 - (u + u^2) / 2)^32 - (1 - u)^32
        u = (np.arange(100_000) + 0.5) / 100_000
        truth = 0.3 * float(((1 - (u + u**2) / 2) ** k - (1 - u) ** k).mean())
        low, high = intervals.differences(found)
        # 0.6 without the difference that unseen problems may have
        assert np.mean((low <= truth) & (truth <= high)) > 0.92

    def test_equal_differences_have_an_interval(self) -> None:
        low, high = intervals.differences(np.zeros((30, 1)))
        assert (low[0], high[0]) == pytest.approx((-0.1157, 0.1157), abs=1e-4)


class TestCrossed:
    def test_one_seed_is_the_difference_over_problems(self) -> None:
        values = np.random.default_rng(0).normal(0, 0.2, size=(1, 30))
        low, high = intervals.differences(values.T)
        assert intervals.crossed(values, -1.0) == (low[0], high[0])

    @pytest.mark.parametrize("seeds", [2, 3, 10])
    @pytest.mark.parametrize("apart", [0.0, 0.01, 0.05])
    def test_covers_the_truth(self, seeds: int, apart: float) -> None:
        rng = np.random.default_rng(seeds)
        held = []
        for _ in range(400):
            values = rng.normal(0, 0.06, (1, 60)) + rng.normal(0, apart, (seeds, 1)) + rng.normal(0, 0.04, (seeds, 60))
            low, high = intervals.crossed(values, -1.0)
            held.append(low <= 0 <= high)
        # by Satterthwaite's degrees of freedom 0.88 of two seeds that are 0.05 apart
        assert np.mean(held) > 0.93

    def test_by_hand(self) -> None:
        values = np.array([[0.0, 0.2, 0.4], [0.2, 0.3, 0.7]])
        # means 0.3; seeds 0.2, 0.4; problems 0.1, 0.25, 0.55; what is left is +-0, +-0.05, +-0.05
        problem, seed, rest = 2 * 0.0525, 3 * 0.02, 4 * 0.0025 / 2
        square = (4.302653**2 * (problem - rest) + 12.706205**2 * seed) / 6
        assert intervals.crossed(values, -1.0) == (pytest.approx(max(-1.0, 0.3 - square**0.5)), 1.0)
        # neither seeds nor problems differ: what is left bounds what they may
        low, high = intervals.crossed(np.array([[0.1, 0.2] * 4, [0.2, 0.1] * 4]), -1.0)
        reach = 2.364624 * (16 * 0.0025 / 7 / 16) ** 0.5
        assert (low, high) == (pytest.approx(0.15 - reach), pytest.approx(0.15 + reach))

    def test_seeds_that_differ_make_it_wide(self) -> None:
        # one seed solves everything, the other nothing
        assert intervals.crossed(np.array([[1.0] * 50, [0.0] * 50])) == (0.0, 1.0)
        # seeds agree: a share of 1/2 of 100 problems, two standard errors to either side
        low, high = intervals.crossed(np.tile(np.arange(100) % 2.0, (3, 1)))
        assert (low, high) == (pytest.approx(0.401, abs=0.01), pytest.approx(0.599, abs=0.01))

    def test_interval_of_nothing_solved_is_not_empty(self) -> None:
        assert intervals.crossed(np.zeros((3, 40))) == (0.0, pytest.approx(0.08810, abs=1e-5))
        assert intervals.crossed(np.ones((3, 40))) == (pytest.approx(0.91190, abs=1e-5), 1.0)
        # pass@k of a problem that is always solved may fall short of 1 by rounding
        assert intervals.crossed(np.full((3, 40), 1 - 1e-12)) == pytest.approx((0.91190, 1.0), abs=1e-5)
        # no difference between arms may have either sign
        assert intervals.crossed(np.zeros((3, 40)), -1.0) == (
            pytest.approx(-0.0881, abs=1e-4),
            pytest.approx(0.0881, abs=1e-4),
        )


class TestTheseProblems:
    def test_variance_by_hand_and_without_bias(self) -> None:
        n, c = np.array([4]), np.array([1])
        assert intervals.sampling_variance(n, c, 1)[0] == pytest.approx(1 * 3 / (16 * 3))
        rng = np.random.default_rng(4)
        for k in (1, 3, 8):
            right = rng.binomial(16, 0.1, size=40_000)
            n = np.full(right.shape, 16)
            found = intervals.sampling_variance(n, right, k).mean()
            assert found == pytest.approx(stats.pass_at_k(n, right, k).var(), rel=0.03)

    @pytest.mark.parametrize(("n", "k"), [(1, 1), (16, 1), (64, 4)])
    def test_covers_the_rate_of_the_same_problems(self, n: int, k: int) -> None:
        rng = np.random.default_rng(6)
        p = rng.beta(0.5, 1.0, size=60)
        truth = (1 - (1 - p) ** k).mean()
        ends = [intervals.these_problems(np.full(60, n), rng.binomial(n, p), [k]) for _ in range(400)]
        assert np.mean([low[0] <= truth <= high[0] for low, high in ends]) >= 0.92

    def test_k_near_n_is_not_told(self) -> None:
        low, high = intervals.these_problems(np.array([16, 32]), np.array([3, 4]), [1, 2])
        assert np.isnan([low[1], high[1]]).all()
        assert intervals.why_untold(16, 2) == "k is above n/16"
        assert intervals.why_untold(16, 1) is None

    def test_wilson_and_newcombe_against_others(self) -> None:
        theirs = scipy.stats.binomtest(7, 20).proportion_ci(0.95, method="wilson")
        assert intervals.wilson(7 / 20, 20) == pytest.approx((theirs.low, theirs.high))
        # Newcombe 1998, Table II: 56/70 against 48/80, method 10: 0.0524 to 0.3339
        one, other = ([np.array([x]) for x in (s / n, *intervals.wilson(s / n, n))] for s, n in ((48, 80), (56, 70)))
        low, high = intervals.newcombe(tuple(one), tuple(other))
        assert (low[0], high[0]) == pytest.approx((0.0524, 0.3339), abs=1e-4)

    def test_split_of_the_variance(self) -> None:
        rng = np.random.default_rng(7)
        p = rng.beta(0.5, 1.0, size=200_000)
        n = np.full(p.shape, 4)
        within, between, reliability = intervals.variance_split(n, rng.binomial(4, p))
        assert within == pytest.approx((p * (1 - p)).mean(), abs=0.002)
        assert between == pytest.approx(p.var(), abs=0.002)
        assert reliability == pytest.approx(p.var() / (p.var() + (p * (1 - p)).mean() / 4), abs=0.005)
        assert np.isnan(intervals.variance_split(np.ones(3, int), np.ones(3, int))).all()


@pytest.mark.parametrize(
    ("low", "high", "written", "told"),
    [
        # outwards, by hand: 12.34% goes down, 56.71% goes up
        (0.1234, 0.5671, {}, "12.3–56.8"),
        # whole steps stay: 0.07 * 100 is 7.000000000000001 to a computer
        (0.07, 0.7, {}, "7.0–70.0"),
        (0.0, 1.0, {}, "0.0–100.0"),
        (0.00001, 0.99999, {}, "0.0–100.0"),
        (0.1234, 0.5611, {"decimals": 0}, "12–57"),
        (-0.01234, 0.00001, {}, "-1.3 to 0.1"),
        (-0.01234, 0.0346, {"sign": "+"}, "-1.3 to +3.5"),
        (0.01234, 0.0346, {"sign": "+"}, "+1.2 to +3.5"),
        # three digits of anything else
        (1234.2, 1240.1, {"decimals": None, "scale": 1}, "1,234–1,241"),
        (1.2345, 9.871, {"decimals": None, "scale": 1}, "1.23–9.88"),
        (-0.5, 0.0, {"decimals": None, "scale": 1}, "-0.5 to 0"),
        (None, 0.5, {}, ""),
    ],
)
def test_printed_intervals_hold_what_was_computed(low: float, high: float, written: dict[str, Any], told: str) -> None:
    assert span(low, high, **written) == told
