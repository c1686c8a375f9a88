"""Numbers that others published, from their own counts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expo_bench import stats
from expo_bench.ledger.contents import Pair, subset_numbers
from expo_bench.ledger.verdicts import adjust, verdict

COUNTS = json.loads((Path(__file__).parents[1] / "data" / "limit_of_rlvr_math500.json").read_text(encoding="utf-8"))
KS = (1, 2, 4, 8, 16, 32, 64, 128)
PUBLISHED = {
    "base": (0.613921875, 0.7340831692913385, 0.8143581835395576, 0.8681727477486968,
             0.9043392837691936, 0.9292921989161737, 0.9474446568195055, 0.962),
    "trained": (0.779328125, 0.8235853838582677, 0.8567501336707911, 0.8829698676500476,
                0.902217497649716, 0.9150862887604729, 0.9234943668139742, 0.93),
}  # fmt: skip
INTERVALS = {
    1: (0.146390625, 0.184828125), 8: (0.0009621043562960104, 0.028916760907528413),
    32: (-0.02807855627089704, -0.0007788315859846147), 128: (-0.05, -0.014),
}  # fmt: skip


def test_g_pass_at_k_of_its_authors() -> None:
    """The example of the authors' `gpassk` metric for Hugging Face's evaluate: 8 of 16 answers are right.

    G-Pass@k is arXiv 2412.13147; the metric names https://open-compass.github.io/GPassK/ as its home.
    """
    n, c = np.array([16]), np.array([8])
    published = {
        (4, 0.25): 0.9615384615384616, (4, 0.5): 0.7153846153846154, (4, 0.75): 0.2846153846153846,
        (4, 1.0): 0.038461538461538464, (8, 0.25): 0.9949494949494949, (8, 0.5): 0.6903651903651904,
        (8, 0.75): 0.06596736596736597, (8, 1.0): 7.77000777000777e-05,
    }  # fmt: skip
    for (k, tau), value in published.items():
        assert stats.g_pass_at_k(n, c, k, tau)[0] == pytest.approx(value, rel=1e-12)
    assert stats.mg_pass_at_k(n, c, 4)[0] == pytest.approx(0.16153846153846152, rel=1e-12)
    assert stats.mg_pass_at_k(n, c, 8)[0] == pytest.approx(0.09518259518259518, rel=1e-12)


@pytest.fixture(scope="module")
def numbers() -> dict[str, Any]:
    """The ledger of Qwen2.5-7B against SimpleRL-Zoo on MATH-500, 128 samples each, from the published counts.

    An independent reproduction of Yue et al. (arXiv 2504.13837, Table 2), which publishes how many samples of each
    problem are right; the answers are not, so their agreement is left at 0.
    """
    n, base, trained = (np.array(column) for column in ([COUNTS["n"]] * 500, COUNTS["base"], COUNTS["trained"]))
    none = np.zeros(500)
    pair = Pair(
        base_n=n, base_c=base, trained_n=n, trained_c=trained, n=n, base_first=base, trained_first=trained,
        base_agreement=none, trained_agreement=none,
    )  # fmt: skip
    section = {"role": "trained", "subsets": {"all": subset_numbers(pair, 0)}}
    adjust([section])
    return section["subsets"]["all"]


def test_pass_at_k_of_a_published_table(numbers: dict[str, Any]) -> None:
    for side, values in PUBLISHED.items():
        curve = numbers["pass_at_k"][side]["value"]
        assert [curve[k - 1] for k in KS] == pytest.approx(values, rel=1e-12)


def test_paired_intervals_of_a_published_table(numbers: dict[str, Any]) -> None:
    difference = numbers["pass_at_k"]["difference"]
    for k, (low, high) in INTERVALS.items():
        # both are 2.5th and 97.5th percentiles of random draws: two ends that are drawn differ in the fourth digit
        assert difference["low"][k - 1] == pytest.approx(low, abs=0.002)
        assert difference["high"][k - 1] == pytest.approx(high, abs=0.002)


def test_cells_and_verdict_of_a_published_comparison(numbers: dict[str, Any]) -> None:
    assert numbers["cells"] == {"both": 462, "base_only": 19, "trained_only": 3, "neither": 16}
    # above at pass@8, below at pass@16
    assert 8 < numbers["crossover"]["k"] <= 16
    found = verdict(numbers, base="base", trained="SimpleRL")
    # the three new ones have 1, 23 and 126 right samples of 128: their number is no surprise, their weight is
    assert found["kind"] == "new problems, others lost"
    assert numbers["null"]["p_trained_only"] > 0.9
    assert numbers["null"]["weighted"]["p_trained_only"] < 1e-3
    assert "solved 3 of 19 problems that base never solved in 128 samples" in found["sentence"]
