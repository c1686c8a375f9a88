"""The two-property metrics, against numbers computed by hand."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scipy.stats import beta

from expo_bench.likelihood.two_property import compute
from expo_bench.reports.likelihood_table import likelihood_table
from expo_bench.rows import Likelihood, LikelihoodMetric
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests import fakes


def likelihood(number: int, name: str, mean: float, lift: float, policy: str = "p", **fields: Any) -> Likelihood:
    values = {
        "problem_id": f"toy-{number:012x}",
        "candidate_id": name,
        "policy": policy,
        "n_tokens": 10,
        "sum_logprob": 10 * mean,
        "mean_logprob": mean,
        "logprob_quantiles": (mean,) * 5,
        "perplexity": 1.0,
        "mean_entropy": 0.5,
        "rank": None,
        "answer_logprob_with": lift - 3,
        "answer_logprob_without": -3.0,
        "opening_logprob_with": -1.0,
        "opening_logprob_without": -1.0,
        "answer_slack": 0.0,
        "answer_place": "box",
        "boundary_rule": "text",
        **fields,
    }
    return Likelihood(**values)


ROWS = [
    likelihood(0, "expert-0", -4.0, 2.0, n_tokens=20),
    likelihood(1, "expert-0", -2.0, 1.0),
    likelihood(2, "expert-0", -9.0, 1.0),
    likelihood(0, "self_explanation-0", -1.0, 4.0),
    likelihood(0, "self_explanation-1", -3.0, 2.0),
    likelihood(1, "self_explanation-0", -1.0, 1.0),
]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Problems 0 and 1 have both sources, problem 2 (another level) an expert chain only."""
    folder = RunFolder(tmp_path)
    folder.write_problems([fakes.problem(0, level=5), fakes.problem(1, level=5), fakes.problem(2, level=4)])
    unknown = {"reaches_answer": None}
    with Appender(folder.candidates_path) as rows:
        rows.append(
            fakes.candidate(int(row.problem_id[-1], 16), row.candidate_id, **(unknown if row is ROWS[2] else {}))
            for row in ROWS
        )
    with Appender(folder.likelihoods_path("p")) as rows:
        rows.append(ROWS)
    return folder


def by_key(run: RunFolder) -> dict[tuple[str, str, str], LikelihoodMetric]:
    return {(row.subset, row.source, row.name): row for row in compute(run, draws=500)}


def test_means_are_over_candidates(run: RunFolder) -> None:
    found = by_key(run)
    assert found["all", "expert", "mean_logprob"].value == pytest.approx(-5)
    assert found["level=5", "expert", "mean_logprob"].value == pytest.approx(-3)
    explained = found["all", "self_explanation", "mean_logprob"]
    assert explained.value == pytest.approx(-5 / 3)
    assert (explained.n_problems, explained.n_candidates) == (2, 3)
    # clustered by hand: m = -5/3, problem sums of (v - m) are -2/3 and 2/3, P / (P - 1) = 2, three candidates
    assert explained.stderr == pytest.approx((2 * 2 * (2 / 3) ** 2) ** 0.5 / 3)
    assert found["level=5", "expert", "tokens"].value == pytest.approx(15)
    assert found["level=5", "self_explanation", "answer_lift"].value == pytest.approx(7 / 3)


def test_comparisons_take_problems_with_both_sources_only(run: RunFolder) -> None:
    found = by_key(run)
    ratio = found["all", "expert", "nll_ratio"]
    # problem means: expert 4 and 2, self-explanation 2 and 1
    assert ratio.value == pytest.approx((4 + 2) / (2 + 1))
    assert (ratio.n_problems, ratio.n_candidates) == (2, 2)
    assert found["all", "expert", "logprob_gap"].value == pytest.approx((-2 - 1) / 2)
    assert found["all", "expert", "lift_gap"].value == pytest.approx((-1 + 0) / 2)
    assert ("level=4", "expert", "nll_ratio") not in found
    assert ("all", "self_explanation", "nll_ratio") not in found


def test_what_is_not_known_is_left_out_and_rates_have_honest_intervals(run: RunFolder) -> None:
    reaches = by_key(run)["all", "expert", "reaches_answer"]
    assert (reaches.value, reaches.n_candidates) == (1.0, 2)
    # 2 of 2 with half a pseudo-problem
    assert reaches.ci_low == pytest.approx(beta.ppf(0.025, 2, 0.5), abs=0.08)
    alone = by_key(run)["level=4", "expert", "mean_logprob"]
    assert (alone.value, alone.stderr, alone.ci_low) == (pytest.approx(-9), None, None)


def test_intervals_hold_the_value(run: RunFolder) -> None:
    for row in compute(run, draws=500):
        if row.ci_low is not None and row.ci_high is not None and row.value is not None:
            assert row.ci_low - 1e-6 <= row.value <= row.ci_high + 1e-6


def test_metrics_come_back_and_the_table_shows_levels_and_sources(run: RunFolder) -> None:
    metrics = compute(run, draws=100)
    run.write_likelihood_metrics(metrics)
    assert b"NaN" not in run.likelihood_metrics_path.read_bytes()
    console = Console(width=80, file=io.StringIO())
    console.print(likelihood_table(metrics, "p"))
    shown = console.file.getvalue()
    for word in ("level=4", "level=5", "expert", "self-expl.", "-3.00", "2.00"):
        assert word in shown
    assert "…\n" not in shown
    console = Console(width=44, file=io.StringIO())
    console.print(likelihood_table(metrics, "p"))
    narrow = console.file.getvalue()
    # columns go, names stay
    assert "level=4" in narrow and "self-expl." in narrow and "leak" not in narrow
    assert max(map(len, narrow.splitlines())) <= 44


def test_each_policy_has_its_numbers(run: RunFolder) -> None:
    with Appender(run.likelihoods_path("q/r")) as rows:
        rows.append([likelihood(0, "expert-0", -1.0, 0.0, policy="q/r")])
    found = {(row.policy, row.subset, row.name): row.value for row in compute(run, draws=10) if row.source == "expert"}
    assert run.policies() == ["p", "q/r"]
    assert found["q/r", "all", "mean_logprob"] == pytest.approx(-1)
    assert found["p", "all", "mean_logprob"] == pytest.approx(-5)


def test_likelihoods_of_candidates_that_are_gone_do_not_count(run: RunFolder) -> None:
    run.candidates_path.unlink()
    with Appender(run.candidates_path) as rows:
        rows.append([fakes.candidate(0)])
    found = by_key(run)
    assert found["all", "expert", "mean_logprob"].n_candidates == 1
    assert {source for _, source, _ in found} == {"expert"}


def test_medians_stand_beside_the_means(run: RunFolder) -> None:
    found = by_key(run)
    # problem means of the experts: -4, -2, -9; of the lifts 2, 1, 1
    assert found["all", "expert", "median_logprob"].value == -4
    assert found["all", "expert", "median_lift"].value == 1
    ends = found["all", "expert", "median_logprob"]
    assert (ends.ci_low, ends.ci_high, ends.stderr) == (-9, -2, None)
    # self-explanations: (-1 - 3) / 2 and -1
    assert found["level=5", "self_explanation", "median_logprob"].value == -1.5
    # one problem has no interval
    assert found["level=4", "expert", "median_logprob"].ci_low is None


def test_chains_without_an_answer_and_rows_of_earlier_versions(run: RunFolder) -> None:
    run.likelihoods_path("p").unlink()
    places = ["box", "end", "text", None, "box", "end"]
    with Appender(run.likelihoods_path("p")) as rows:
        rows.append([replace(row, answer_place=place) for row, place in zip(ROWS, places, strict=True)])
    found = by_key(run)
    assert found["all", "expert", "answer_lift"].value == pytest.approx(4 / 3)
    assert found["all", "expert", "answer_lift_answered"].value == pytest.approx(1.5)
    assert found["all", "self_explanation", "answer_lift"].n_candidates == 2
    assert found["all", "self_explanation", "answer_lift_answered"].value == pytest.approx(2)
