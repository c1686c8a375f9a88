"""Hand-computed values, and independent implementations: exact fractions, scipy, enumeration, simulation."""

import itertools
import math
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from expo_bench import stats


def random_cases(count: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    n = rng.integers(1, most, size=count)
    return n, rng.integers(0, n + 1), rng.integers(1, n + 1)


def one(*numbers: int) -> list[np.ndarray]:
    return [np.array([number]) for number in numbers]


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 200))
    return n, draw(st.integers(0, n))


class TestPassAtK:
    @pytest.mark.parametrize(
        ("n", "c", "k", "expected"),
        [(2, 1, 1, 0.5), (2, 1, 2, 1.0), (4, 0, 4, 0.0), (4, 4, 1, 1.0), (5, 2, 3, 0.9), (10, 3, 2, 24 / 45)],
    )
    def test_by_hand(self, n: int, c: int, k: int, expected: float) -> None:
        assert stats.pass_at_k(*one(n, c), k) == pytest.approx(expected, abs=1e-15)

    def test_against_exact_fractions(self) -> None:
        for n, c, k in zip(*random_cases(1000, 600), strict=True):
            expected = 1 - Fraction(math.comb(int(n - c), int(k)), math.comb(int(n), int(k)))
            assert stats.pass_at_k(*one(n, c), int(k))[0] == pytest.approx(float(expected), rel=1e-11, abs=1e-300)

    @pytest.mark.parametrize(("c", "k"), [(1, 1), (1, 10_000), (3, 7), (5000, 2), (9999, 1), (20, 5000)])
    def test_ten_thousand_samples(self, c: int, k: int) -> None:
        expected = 1 - Fraction(math.comb(10_000 - c, k), math.comb(10_000, k))
        assert stats.pass_at_k(*one(10_000, c), k)[0] == pytest.approx(float(expected), rel=1e-10)

    def test_curve_over_unequal_n(self) -> None:
        n, c = np.array([4, 8, 4, 6]), np.array([1, 2, 4, 0])
        curve = stats.pass_at_k_curve(n, c, [1, 2, 4])
        assert curve.shape == (4, 3)
        assert curve[:, 0] == pytest.approx([0.25, 0.25, 1, 0])
        assert curve[1] == pytest.approx([0.25, 1 - 15 / 28, 1 - 15 / 70])

    def test_k_above_n_is_refused(self) -> None:
        with pytest.raises(ValueError, match="k=5 is more than n=4"):
            stats.pass_at_k_curve(np.array([8, 4]), np.array([1, 1]), [1, 5])

    @pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 1, 0)])
    def test_impossible_counts_are_refused(self, n: int, c: int, k: int) -> None:
        with pytest.raises(ValueError):
            stats.pass_at_k(*one(n, c), k)

    @given(counts())
    @settings(max_examples=100, deadline=None)
    def test_grows_with_k_from_the_success_rate(self, case: tuple[int, int]) -> None:
        n, c = case
        curve = stats.pass_at_k_curve(*one(n, c), list(range(1, n + 1)))[0]
        assert curve[0] == pytest.approx(c / n, abs=1e-12)
        assert (np.diff(curve) >= -1e-12).all()
        assert curve[-1] == (c > 0)


class TestStability:
    def test_by_hand(self) -> None:
        # 2 of 4 right, 2 drawn: 0, 1, 2 right with chances 1/6, 4/6, 1/6
        n, c = one(4, 2)
        assert stats.g_pass_at_k(n, c, 2, 0.5) == pytest.approx(5 / 6)
        assert stats.g_pass_at_k(n, c, 2, 1.0) == pytest.approx(1 / 6)
        assert stats.mg_pass_at_k(n, c, 2) == pytest.approx(1 / 6)

    def test_against_scipy(self) -> None:
        rng = np.random.default_rng(1)
        for n, c, k in zip(*random_cases(1000, 300), strict=True):
            tau = rng.integers(1, 21) / 20
            needed = math.ceil(Fraction(round(tau * 20), 20) * int(k))
            expected = scipy.stats.hypergeom.sf(needed - 1, n, c, k)
            assert stats.g_pass_at_k(*one(n, c), int(k), tau)[0] == pytest.approx(expected, rel=1e-8, abs=1e-12)

    @pytest.mark.parametrize("k", [2, 4, 16, 30])
    def test_mean_over_thresholds_is_the_published_sum(self, k: int) -> None:
        n, c = np.array([32, 40, 30]), np.array([20, 40, 0])
        total = sum(stats.g_pass_at_k(n, c, k, i / k) for i in range(math.ceil(k / 2) + 1, k + 1))
        assert stats.mg_pass_at_k(n, c, k) == pytest.approx(2 / k * total)
        assert stats.mg_pass_at_k(n, c, k)[1:] == pytest.approx([1, 0])

    def test_odd_k_is_refused(self) -> None:
        with pytest.raises(ValueError, match="even"):
            stats.mg_pass_at_k(*one(5, 2), 3)

    @given(counts(), st.data())
    @settings(max_examples=100, deadline=None)
    def test_from_pass_at_k_down(self, case: tuple[int, int], data: st.DataObject) -> None:
        n, c = one(*case)
        k = data.draw(st.integers(1, case[0]))
        rates = [stats.g_pass_at_k(n, c, k, tau)[0] for tau in (0, 0.3, 0.5, 0.8, 1)]
        assert rates[0] == pytest.approx(stats.pass_at_k(n, c, k)[0], abs=1e-9)
        assert (np.diff(rates) <= 1e-12).all()
        assert stats.g_pass_at_k(n, c, case[0], 1)[0] == pytest.approx(float(case[0] == case[1]), abs=1e-12)

    def test_cover(self) -> None:
        n, c = np.array([10, 10, 20, 3]), np.array([7, 6, 11, 0])
        assert stats.cover_at_tau(n, c, 0.7).tolist() == [1, 0, 0, 0]
        assert stats.cover_at_tau(n, c, 0.55).tolist() == [1, 1, 1, 0]
        with pytest.raises(ValueError, match="tau"):
            stats.cover_at_tau(n, c, 0)


def vote(classes: list[int], correct: list[bool]) -> float:
    """Majority vote, the plain way."""
    votes = Counter(label for label in classes if label >= 0)
    if not votes:
        return 0.0
    winners = [label for label, number in votes.items() if number == max(votes.values())]
    right = [np.mean([ok for of, ok in zip(classes, correct, strict=True) if of == label]) for label in winners]
    return float(np.mean(right))


class TestMajority:
    @pytest.mark.parametrize(
        ("classes", "right", "expected"),
        [
            ([0, 0, 1, 2], {0}, 1.0),
            ([0, 1, 1, 2], {0}, 0.0),
            ([0, 0, 1, 1], {0}, 0.5),
            ([0, 1, 2, -1], {2}, 1 / 3),
            ([-1, -1, -1, 4], {4}, 1.0),
            ([-1, -1, -1, -1], set(), 0.0),
        ],
    )
    def test_by_hand(self, classes: list[int], right: set[int], expected: float) -> None:
        labels = np.array([classes])
        correct = np.isin(labels, list(right))
        assert stats.maj_at_k(labels, correct, 4, np.random.default_rng(0)) == pytest.approx(expected)

    def test_a_class_whose_votes_disagree_counts_by_its_share(self) -> None:
        rate = stats.maj_at_k(np.zeros((1, 4), int), np.array([[1, 1, 1, 0]], bool), 4, np.random.default_rng(0))
        assert rate == pytest.approx(0.75)

    def test_all_samples_against_the_plain_way(self) -> None:
        rng = np.random.default_rng(2)
        classes = rng.integers(-1, 4, size=(300, 9))
        correct = classes == rng.integers(0, 4, size=(300, 1))
        expected = [vote(*case) for case in zip(classes.tolist(), correct.tolist(), strict=True)]
        assert stats.maj_at_k(classes, correct, 9, rng) == pytest.approx(expected)

    @pytest.mark.parametrize("k", [1, 2, 3, 5])
    def test_subsets_against_all_of_them(self, k: int) -> None:
        rng = np.random.default_rng(3)
        classes = rng.integers(-1, 3, size=(20, 7))
        correct = classes == 0
        chosen = [list(subset) for subset in itertools.combinations(range(7), k)]
        expected = [np.mean([vote(row[s].tolist(), (row[s] == 0).tolist()) for s in chosen]) for row in classes]
        rates = stats.maj_at_k(classes, correct, k, rng, subsets=4000)
        assert rates == pytest.approx(expected, abs=0.04 if k > 1 else 1e-12)

    def test_is_repeated_by_the_seed(self) -> None:
        classes = np.random.default_rng(4).integers(-1, 5, size=(50, 16))
        first, second = (stats.maj_at_k(classes, classes == 0, 4, np.random.default_rng(7)) for _ in range(2))
        assert (first == second).all()

    @pytest.mark.parametrize("k", [0, 5])
    def test_k_out_of_range_is_refused(self, k: int) -> None:
        with pytest.raises(ValueError, match="between 1 and n=4"):
            stats.maj_at_k(np.zeros((2, 4), int), np.ones((2, 4), bool), k, np.random.default_rng(0))


class TestClusteredMean:
    def test_equal_weights_are_the_textbook(self) -> None:
        values = np.random.default_rng(0).random(30)
        mean, error = stats.clustered_mean(values, np.ones(30))
        assert mean == pytest.approx(values.mean())
        assert error == pytest.approx(values.std(ddof=1) / math.sqrt(30))

    def test_by_hand(self) -> None:
        # weights 1 and 3, values 0 and 1: mean 3/4, deviations 1 * -3/4 and 3 * 1/4
        mean, error = stats.clustered_mean(np.array([0.0, 1.0, 9.0]), np.array([1.0, 3.0, 0.0]))
        assert mean == pytest.approx(0.75)
        assert error == pytest.approx(math.sqrt(2 * (0.75**2 + 0.75**2)) / 4)

    def test_too_few_problems(self) -> None:
        mean, error = stats.clustered_mean(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
        assert mean[0] == 0.5
        assert np.isnan(mean[1])
        assert np.isnan(error).all()


def test_counts_are_resamples() -> None:
    drawn = stats.resample_counts(300, 2000, 0)
    assert (drawn.sum(axis=1) == 300).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(300), abs=0.15)
    assert drawn.var() == pytest.approx(1 - 1 / 300, rel=0.02)
    assert (drawn == stats.resample_counts(300, 2000, 0)).all()


def test_import_is_light() -> None:
    code = "import sys, expo_bench.stats; print({'torch', 'pandas', 'scipy', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
