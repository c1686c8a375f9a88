"""The numbers of a ledger, against hand computation, scipy and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import beta, binomtest, hypergeom, poisson_binom

from expo_bench import stats
from expo_bench.ledger import comparisons, exchange


def _cells(both: int, base_only: int, trained_only: int, neither: int) -> np.ndarray:
    return np.repeat(range(4), [both, base_only, trained_only, neither])


def test_coverage_cells_by_hand() -> None:
    base, trained = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert [comparisons.CELLS[cell] for cell in comparisons.coverage_cells(base, trained)] == [
        "both",
        "base_only",
        "trained_only",
        "neither",
    ]


def test_support_by_hand() -> None:
    cells = _cells(6, 2, 3, 1)
    found = comparisons.support(cells, 500, 0)
    assert found.value == pytest.approx([6 / 8, 3 / 9, (3 - 2) / 11])
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_support_of_the_published_aime_cells() -> None:
    # Yue et al., arXiv 2504.13837, AIME 2024: 19 both, 4 base only, 0 trained only, 7 neither. Only these counts are
    # theirs: which problems they are does not matter to the three ratios.
    cells = comparisons.coverage_cells(np.arange(30) < 23, np.arange(30) < 19)
    assert np.bincount(cells, minlength=4).tolist() == [19, 4, 0, 7]
    found = comparisons.support(cells, 5000, 0)
    assert found.value == pytest.approx([19 / 23, 0, -4 / 23])
    # no new problem among 19: with half a pseudo-problem the end is a Beta distribution's
    assert found.high[1] == pytest.approx(beta.ppf(0.975, 0.5, 19), abs=0.005)


def test_support_without_solved_problems_cannot_be_told() -> None:
    assert np.isnan(comparisons.support(_cells(0, 0, 0, 4), 1, 0).value).all()


@pytest.mark.parametrize(("n", "right"), [(2, 1), (3, 2), (4, 3), (3, 4), (2, 0)])
def test_swap_chance_counts_all_deals(n: int, right: int) -> None:
    deals = list(itertools.combinations(range(2 * n), n))
    only_trained = sum(not any(sample < right for sample in base) for base in deals) if right else 0
    assert exchange.swap_chance(np.array([n]), np.array([right]))[0] == pytest.approx(only_trained / len(deals))


def test_chance_of_at_least_is_poisson_binomial() -> None:
    chances = np.random.default_rng(0).random(40) * 0.4
    for count in (0, 1, 8, 20, 40):
        expected = poisson_binom.sf(count - 1, chances)
        assert exchange.chance_of_at_least(count, chances) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: 2 * (1 + 6) / 2^6
    assert exchange.mcnemar_p(1, 5) == pytest.approx(14 / 64)
    assert exchange.mcnemar_p(0, 0) == 1


def test_sign_flips_agree_with_all_of_them() -> None:
    differences = np.array([0.5, 0.25, -0.125, 1.0, 0.75, 0.1])
    signs = np.array(list(itertools.product([-1, 1], repeat=6)))
    exact = (abs(signs @ differences) >= differences.sum() - 1e-9).mean()
    assert exchange.sign_flip_p(differences[:, None], 40_000, 0)[0] == pytest.approx(exact, abs=0.005)


def test_crossover_by_hand() -> None:
    differences = np.array([[0.2, 0.1, -0.1, 0.1], [0.3, 0.2, 0.1, 0.1], [-0.1, 0.2, 0.1, 0.0], [0.1, 0.1, 0.1, 0.0]])
    # a tie is no crossing
    assert comparisons.crossover(differences).tolist() == [2, math.inf, 0, math.inf]


def test_accuracy_flows_put_each_edge_into_the_lower_bin() -> None:
    n = np.full(5, 10)
    flows = comparisons.accuracy_flows((n, np.array([0, 1, 2, 9, 10])), (n, np.array([10, 0, 3, 10, 10])))
    expected = np.zeros((11, 11), dtype=int)
    for before, after in [(0, 10), (1, 0), (2, 3), (9, 10), (10, 10)]:
        expected[before, after] += 1
    assert flows.tolist() == expected.tolist()
    # 7/70 is 0.1 exactly, and 21/30 is 0.7: floats would put the second into the bin above
    edges = comparisons.accuracy_flows((np.array([70]), np.array([7])), (np.array([30]), np.array([21])))
    assert edges[1, 7] == 1


def test_agreement_counts_pairs_of_samples() -> None:
    place, answers = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([5, 5, -1, 5, 0, 1, 0])
    # three of six pairs agree; none of one; no pair
    assert comparisons.agreement(place, answers, 3)[:2] == pytest.approx([3 / 6, 0])
    assert math.isnan(comparisons.agreement(place, answers, 3)[2])
    # samples without an answer agree with nothing, not even with one another
    assert comparisons.agreement(np.zeros(4, int), np.full(4, -1), 1).tolist() == [0]


def test_zero_bound_is_clopper_pearson() -> None:
    expected = binomtest(0, 128, alternative="less").proportion_ci(0.95).high
    assert comparisons.zero_bound(128) == pytest.approx(expected)


def test_right_above_wrong_counts_pairs() -> None:
    scores, correct = np.array([3.0, 1.0, 2.0, 2.0]), np.array([True, False, True, False])
    # pairs right-wrong: 3>1, 3>2, 2>1, 2=2
    assert comparisons.right_above_wrong(scores, correct) == pytest.approx(3.5 / 4)
    assert math.isnan(comparisons.right_above_wrong(scores, np.ones(4, dtype=bool)))


def test_g_pass_is_the_hypergeometric_tail() -> None:
    n, k = 40, 16
    c = np.arange(n + 1)
    for tau in (0.25, 0.5, 0.75, 1.0):
        expected = hypergeom.sf(math.ceil(tau * k) - 1, n, c, k)
        assert stats.g_pass_at_k(np.full(n + 1, n), c, k, tau) == pytest.approx(expected, abs=1e-9)


def test_paired_means_and_degenerate_columns() -> None:
    base, trained = np.array([[0.0, 0.2], [0.0, 0.4]]), np.array([[0.0, 0.4], [0.0, 0.6]])
    found = comparisons.paired(base, trained, 2000, 0)
    assert found.difference.value == pytest.approx([0, 0.2])
    # both problems changed alike: with two of two, a share of 0.025^(1/2) of all problems at least
    assert found.difference.low == pytest.approx([0.025**0.5 - 1, 0.2 * 0.025**0.5 - 1 + 0.025**0.5])
    assert (found.difference.high - found.difference.value > 0).all()
    # 0 of 2 problems
    assert found.base.high[0] == pytest.approx(beta.ppf(0.975, 0.5, 2), abs=0.03)


def test_a_single_problem_has_no_interval() -> None:
    found = comparisons.paired(np.array([[0.5]]), np.array([[0.7]]), 20, 0)
    assert found.difference.value == pytest.approx([0.2])
    assert np.isnan([found.base.low[0], found.base.high[0], found.difference.low[0]]).all()


def test_interval_of_the_pass_1_difference_covers() -> None:
    """A nominal 95% interval holds the true mean difference of the problems' population in 93 to 97% of pairs."""
    rng = np.random.default_rng(1)
    pairs, problems, samples = 2000, 100, 16
    # a problem's rate, and what training makes of it: p^0.7
    population = rng.beta(0.5, 1.0, size=1_000_000)
    truth = (population**0.7 - population).mean()
    rates = rng.beta(0.5, 1.0, size=(problems, pairs))
    base, trained = (rng.binomial(samples, p) / samples for p in (rates, rates**0.7))
    covered = []
    found = comparisons.paired(base, trained, 10, 0).difference
    covered.append((found.low <= truth) & (truth <= found.high))
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("shape", ["all hard", "mostly hard", "every kind"])
def test_base_against_itself_seldom_seems_to_solve_new_problems(shape: str) -> None:
    """False positives of "new problems" are at most 5%: two draws of the same policy, 64 samples a problem."""
    rng = np.random.default_rng(2)
    pairs, problems, n = 1000, 120, 64
    hard = np.exp(rng.uniform(np.log(0.001), np.log(0.05), size=problems))
    rates = {
        "all hard": hard,
        "mostly hard": np.where(np.arange(problems) < 90, hard, rng.beta(0.5, 0.7, size=problems)),
        "every kind": rng.beta(0.3, 1.0, size=problems),
    }[shape]
    base, trained = rng.binomial(n, rates, size=(2, pairs, problems))
    new = ((base == 0) & (trained > 0)).sum(axis=1)
    chances = exchange.swap_chance(np.full((pairs, problems), n), base + trained)
    # the expectation is right on average, and the test holds its level without being idle
    assert chances.sum(axis=1).mean() == pytest.approx(new.mean(), rel=0.03)
    p = [exchange.chance_of_at_least(int(count), row) for count, row in zip(new, chances, strict=True)]
    found = np.mean(np.array(p) <= 0.05)
    # three standard errors of 1,000 pairs above 0.05
    assert 0.005 < found <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / pairs)


def test_weighted_test_is_exact_by_enumeration() -> None:
    n, right = np.array([4, 4, 3, 5]), np.array([1, 3, 2, 0])
    chances, jumps = exchange.swap_chance(n, right), [1, 3, 2, 0]
    only = np.array([False, True, False, False])
    expected = 0.0
    for events in itertools.product([False, True], repeat=4):
        chance = np.prod([q if event else 1 - q for q, event in zip(chances, events, strict=True)])
        expected += chance * (sum(jump for jump, event in zip(jumps, events, strict=True) if event) >= 3)
    assert exchange.weighted_p(only, n, right) == pytest.approx(expected)


def test_same_problems_test_is_near_the_exact_one() -> None:
    rng = np.random.default_rng(3)
    n = np.full(12, 16)
    base, trained = rng.binomial(16, 0.3, size=12), rng.binomial(16, 0.4, size=12)
    exact = np.ones(1)
    for right in base + trained:
        exact = np.convolve(exact, hypergeom.pmf(np.arange(17), 32, right, 16))
    apart = abs(np.arange(len(exact)) - (base + trained).sum() / 2)
    expected = exact[apart >= abs(trained.sum() - base.sum()) / 2].sum()
    assert 0.001 < expected < 0.5
    assert exchange.same_problems_p(n, base, trained) == pytest.approx(expected, rel=0.08)
    assert exchange.same_problems_p(n, 0 * base, 0 * base) == 1


def test_holm_by_hand() -> None:
    found = exchange.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5})
    assert found == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5})
