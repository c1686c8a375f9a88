"""The screen on candidates made by hand, its rank correlation against scipy's, and the zero set."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from analysis import screen, zero_set
from expo_bench import RunFolder, UserError
from expo_bench.rows import Candidate, Likelihood, Manifest
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import SCHEMA_VERSION
from tests import fakes


def likelihood(one: Candidate, mean: float) -> Likelihood:
    return Likelihood(
        problem_id=one.problem_id, candidate_id=one.candidate_id, policy="base", n_tokens=4, sum_logprob=4 * mean,
        mean_logprob=mean, logprob_quantiles=(mean,) * 5, perplexity=math.exp(-mean), mean_entropy=None, rank=None,
        answer_logprob_with=mean, answer_logprob_without=-2.0, opening_logprob_with=-1.0, opening_logprob_without=-2.0,
        boundary_rule="text",
    )  # fmt: skip


def own(index: int, right: bool) -> Candidate:
    return fakes.candidate(0, f"own-{index}", source="own_correct" if right else "own_incorrect", reaches_answer=right)


def explained(index: int, **fields: Any) -> Candidate:
    return fakes.candidate(0, f"self_explanation-{index}", source="self_explanation", **fields)


EXPERT = fakes.candidate(0, "expert-0", text="8 bytes.")


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        (
            [(own(0, True), -0.25), (own(1, False), -0.5), (own(2, False), None), (EXPERT, -2 * math.log(2))],
            {
                "pass@1": 1 / 3, "pass@n": 1.0, "mixed": 1.0, "nll_right": 0.25, "nll_wrong": 0.5,
                "nll_expert": 2 * math.log(2), "bits_per_byte": 1.0, "lift_right": 1.75, "lift_wrong": 1.5,
                "lift_expert": 2 - 2 * math.log(2),
            },
        ),
        (
            # a chain that was cut off has not reached the answer, one that cannot be graded does not count
            [
                (own(0, False), -1.0), (explained(0), -3.0), (explained(1, truncated=True), -9.0),
                (explained(2, reaches_answer=False), -8.0), (explained(3, reaches_answer=None), -9.0),
            ],
            {
                "pass@1": 0.0, "pass@n": 0.0, "mixed": 0.0, "reached": 1 / 3, "signal": 1.0, "nll_wrong": 1.0,
                "nll_explained": 3.0, "nll_missed": 8.5, "lift_wrong": 1.0, "lift_explained": -1.0, "lift_missed": -6.5,
            },
        ),
        ([(own(0, True), None)], {"pass@1": 1.0, "pass@n": 1.0, "mixed": 0.0}),
    ],
)  # fmt: skip
def test_quantities_of_a_problem(chains: list[tuple[Candidate, float | None]], expected: dict[str, float]) -> None:
    found = screen.quantities([(one, None if mean is None else likelihood(one, mean)) for one, mean in chains])
    assert found == pytest.approx(expected)


def study(folder: Path, right: int, gain: float) -> Path:
    """Write a study whose base solves `right` of 4 problems, two a level, and gains so much."""
    run = RunFolder(folder / "candidates")
    run.path.mkdir(parents=True)
    problems = [fakes.problem(at, level=4 + at % 2) for at in range(4)]
    run.write_problems(problems)
    chains = [fakes.candidate(at, "own-0", source="own_correct" if at < right else "own_incorrect") for at in range(4)]
    with Appender(run.candidates_path) as rows:
        rows.append(chains)
    run.write_scored_model("base", {"name": "base"})
    with Appender(run.likelihoods_path("base")) as rows:
        rows.append([likelihood(one, -0.1 * (right + 1)) for one in chains])
    points = [
        {"arm": "grpo", "step": step, "metric": "pass@1", "level": level, "value": value}
        for level in (None, 5)
        for step, value in ((0, 0.25), (30, 0.9), (60, 0.25 + gain))
    ]
    (folder / "curves.json").write_text(json.dumps(points))
    return folder


def test_page_of_studies(tmp_path: Path) -> None:
    gained = (0.0, 0.2, 0.1, 0.5, 0.4)
    studies = [study(tmp_path / f"base-{right}", right, gain) for right, gain in enumerate(gained)]
    text = screen.write(studies, tmp_path / "out").read_text()
    described = json.loads((tmp_path / "out" / "screen.json").read_text())
    solved = {row["subset"]: row["value"] for row in described["runs"][3]["screen"] if row["quantity"] == "pass@1"}
    assert solved == {"all": 0.75, "level=4": 1.0, "level=5": 0.5}
    none = described["runs"][0]["screen"]
    low, high = next((row["ci_low"], row["ci_high"]) for row in none if row["quantity"] == "pass@1")
    # nothing solved in 4 problems does not mean that nothing would be in others
    assert low == 0.0 and 0.2 < high < 1.0
    assert described["runs"][3]["gains"] == {"grpo": pytest.approx(0.5)}
    (one,) = [row for row in described["correlations"] if row["quantity"] == "pass@1"]
    assert one["value"] == pytest.approx(spearmanr(range(5), gained).statistic) and one["n_bases"] == 5
    assert one["ci_low"] <= one["value"] <= one["ci_high"]
    assert f"| pass@1 | grpo | {one['value']:.2f} [" in text and "## base-3" in text


@pytest.mark.parametrize("seed", range(3))
def test_spearman_with_ties_is_that_of_scipy(seed: int) -> None:
    pairs = np.random.default_rng(seed).integers(0, 5, (12, 2)).astype(float)
    assert screen.spearman(pairs) == pytest.approx(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def test_a_run_without_likelihoods_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_problems([fakes.problem()])
    with pytest.raises(UserError, match="has no likelihoods: give expo-bench likelihood"):
        screen.screen(RunFolder(tmp_path))


def manifest(status: str) -> Manifest:
    nothing: dict[str, Any] = {key: {} for key in ("protocol", "model", "benchmarks", "environment", "counts")}
    return Manifest(
        schema_version=SCHEMA_VERSION, status=status, started="", finished=None, protocol_hash="", seed=0, **nothing
    )  # fmt: skip


def test_zero_set_is_what_every_sample_misses(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_problems([fakes.problem(at) for at in range(60)])
    # right once, cannot be told, no answer, wrong: the last two are missed
    kinds = [("graded", True), ("timeout", None), ("no_answer", None), ("graded", False)]
    with Appender(run.grades_path(zero_set.GRADER)) as rows:
        for at in range(60):
            status, correct = kinds[at % 4]
            rows.append([
                fakes.grade(at, 0, grader=zero_set.GRADER, status="graded", correct=False),
                fakes.grade(at, 1, grader=zero_set.GRADER, status=status, correct=correct),
            ])  # fmt: skip
    run.write_manifest(manifest("started"))
    with pytest.raises(UserError, match="not finished"):
        zero_set.missed([run])
    run.write_manifest(manifest("finished"))
    found = zero_set.missed([run])
    assert [one.problem_id for one in found] == [fakes.problem(at).problem_id for at in range(60) if at % 4 > 1]
    # problems 40 to 79 in a second run, whose samples solve every fifth: 40 to 59 are in both
    again = RunFolder(tmp_path / "again")
    again.path.mkdir()
    again.write_problems([fakes.problem(at) for at in range(40, 80)])
    with Appender(again.grades_path(zero_set.GRADER)) as rows:
        rows.append([fakes.grade(at, 0, grader=zero_set.GRADER, correct=at % 5 == 0) for at in range(40, 80)])
    again.write_manifest(manifest("finished"))
    both = [at for at in range(80) if (at % 4 > 1 or at >= 60) and (at % 5 or at < 40)]
    assert [one.problem_id for one in zero_set.missed([run, again])] == [fakes.problem(at).problem_id for at in both]
    held_out = [one for one in found if zero_set.is_held_out(one)]
    assert 3 <= len(held_out) <= 15
    zero_set.write(held_out, tmp_path / "held_out.jsonl")
    first = json.loads((tmp_path / "held_out.jsonl").read_text().splitlines()[0])
    assert first == {"question": held_out[0].question, "answer": held_out[0].answer, "level": held_out[0].level}
