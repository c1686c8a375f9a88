"""pass@k for k above n: against closed forms and laws that are known."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from expo_bench import extrapolation


def test_one_sample_a_problem_leaves_what_can_be_reckoned() -> None:
    """The likelihood knows the mean m alone: pass@2 is least where problems are solved always or never, m, and most
    where all are alike, 1 - (1 - m)^2, at the ends of the likelihood interval of 20 of 50.
    """
    ends = [
        brentq(lambda m: binom.logpmf(20, 50, m) - binom.logpmf(20, 50, 0.4) + 1.92, *sides)
        for sides in ((0.01, 0.4), (0.4, 0.99))
    ]
    found = extrapolation.beyond(np.ones(50, dtype=int), np.repeat([1, 0], [20, 30]), [2])
    assert found.low[0] == pytest.approx(ends[0], abs=0.005)
    assert found.high[0] == pytest.approx(1 - (1 - ends[1]) ** 2, abs=0.005)


def test_the_forecast_is_right_where_difficulties_follow_a_beta_law() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 2.0, 4000)
    found = extrapolation.beyond(np.full(4000, 16), rng.binomial(16, p), [32, 64])
    truth = [float((1 - (1 - rng.beta(0.5, 2.0, 400_000)) ** k).mean()) for k in (32, 64)]
    assert found.forecast == pytest.approx(truth, abs=0.02)
    assert (found.low < truth).all() and (truth < found.high).all()


def test_nothing_solved_may_be_solved_later_and_what_is_solved_stays() -> None:
    nothing = extrapolation.beyond(np.full(30, 16), np.zeros(30, dtype=int), [32, 64])
    assert nothing.low == pytest.approx([0, 0], abs=1e-3)
    assert 0 < nothing.high[0] < nothing.high[1] < 1
    half = extrapolation.beyond(np.full(30, 16), np.repeat([0, 16], 15), [32, 64])
    # the likelihood interval of 15 of 30
    assert half.low == pytest.approx([0.33, 0.33], abs=0.02)
