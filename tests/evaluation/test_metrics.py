"""A small run folder with every status, two benchmarks and an odd number of everything, through the whole stage."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expo_bench.errors import UserError
from expo_bench.evaluation import metrics
from expo_bench.evaluation.problem_table import collect
from expo_bench.rows import STATUSES, Grade, Metric, Problem, Sample, Status
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder

GRADER = "toy"
# problem: level, subject, domains, and of each of its four samples the status, and the answer where it is graded
A, B = "alpha", "beta"
CASES: dict[str, tuple[str, int | None, str | None, tuple[str, ...], list[Status | int]]] = {
    "p0": (A, 1, "Algebra", ("x", "y"), [1, 1, 1, 1]),
    "p1": (A, 1, "Algebra", ("y", "y"), [1, 0, "no_answer", "truncated"]),
    "p2": (A, 2, "Geometry", (), ["timeout", "error", "bad_gold", 0]),
    "p3": (A, 2, None, (), ["no_answer"] * 4),
    "p4": (A, None, None, (), [0, 0, 1, 1]),
}


def problem(name: str, benchmark: str, level: int | None, subject: str | None, domain: tuple[str, ...]) -> Problem:
    return Problem(
        problem_id=name,
        benchmark=benchmark,
        split="test",
        question=name,
        answer="1",
        level=level,
        subject=subject,
        domain=domain,
    )


def sample(name: str, index: int, outcome: Status | int) -> Sample:
    failed = outcome == "error"
    return Sample(
        problem_id=name,
        sample_index=index,
        prompt_kind="solve",
        text="",
        token_ids=None,
        n_tokens=0 if failed else 10 + index,
        finish_reason="error" if failed else "length" if outcome == "truncated" else "stop",
        seed=index,
        sum_logprob=None if failed else -0.5 * (10 + index),
    )


def grade(name: str, index: int, outcomes: list[Status | int]) -> Grade:
    outcome = outcomes[index]
    graded = isinstance(outcome, int)
    return Grade(
        problem_id=name,
        sample_index=index,
        grader=GRADER,
        status="graded" if isinstance(outcome, int) else outcome,
        correct=outcome == 1 if graded else None,
        extracted=str(outcome) if graded else None,
        answer_class=outcomes.index(outcome) if graded else None,
        seconds=0.0,
    )


def write_run(folder: Path, cases: dict = CASES, skip_grade: int = 0, skip_sample: int = 0) -> RunFolder:
    run = RunFolder(folder)
    run.write_problems([problem(name, *case[:4]) for name, case in cases.items()])
    keys = [(name, index) for name, case in cases.items() for index in range(len(case[4]))]
    # rows come in any order
    samples = [sample(name, index, cases[name][4][index]) for name, index in reversed(keys)]
    with Appender(run.samples_path) as file:
        file.append(samples[skip_sample:])
    with Appender(run.grades_path(GRADER)) as file:
        file.append([grade(name, index, cases[name][4]) for name, index in keys[skip_grade:]])
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path)


def table_of(run: RunFolder, **options: object) -> dict[tuple[str, str], Metric]:
    rows = metrics.compute(run, grader=GRADER, draws=500, **options)
    keyed = {(row.subset, row.name): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def test_headline_counts_everything_unsolved_as_wrong(run: RunFolder) -> None:
    found = table_of(run)
    headline, graded = found["all", "avg@4"], found["all", "avg@4|graded"]
    assert headline.value == pytest.approx(7 / 20)
    assert (headline.n_problems, headline.n_samples) == (5, 20)
    assert graded.value == pytest.approx(7 / 11)
    assert (graded.n_problems, graded.n_samples) == (4, 11)
    assert found["all", "pass@1|graded"].value == pytest.approx((1 + 1 / 2 + 0 + 1 / 2) / 4)
    assert found["all", "pass@1"].value == pytest.approx(7 / 20)


def test_values_by_hand(run: RunFolder) -> None:
    found = table_of(run)
    assert found["level=1", "pass@2"].value == pytest.approx((1 + 1 / 2) / 2)
    assert found["all", "pass@4"].value == pytest.approx(3 / 5)
    assert found["all", "maj@4"].value == pytest.approx((1 + 1 / 2 + 0 + 0 + 1 / 2) / 5)
    assert found["all", "maj@1"].value == pytest.approx(7 / 20)
    assert found["all", "Cover@0.25"].value == pytest.approx(3 / 5)
    assert found["all", "Cover@1.0"].value == pytest.approx(1 / 5)
    assert found["all", "G-Pass@4_0.5"].value == pytest.approx(2 / 5)
    assert found["all", "G-Pass@4_1.0"].value == found["all", "mG-Pass@4"].value == pytest.approx(1 / 5)
    assert found["all", "no_answer"].value == pytest.approx(5 / 20)
    assert found["all", "length_limit"].value == pytest.approx(1 / 20)
    assert found["all", "tokens"].value == pytest.approx((20 * 11.5 - 11) / 19)
    assert found["all", "logprob_per_token"].value == pytest.approx(-0.5)


def test_counts_add_up_and_intervals_hold_their_value(run: RunFolder) -> None:
    rows = metrics.compute(run, grader=GRADER, draws=500)
    for row in rows:
        assert tuple(row.counts) == STATUSES
        assert sum(row.counts.values()) == row.n_samples
        if row.ci_low is not None:
            assert row.value is not None
            assert row.ci_high is not None
            assert row.ci_low - 1e-6 <= row.value <= row.ci_high + 1e-6
    shares = [row.value for row in rows if row.subset == "all" and row.name in STATUSES]
    assert sum(share for share in shares if share is not None) == pytest.approx(1)


def test_missing_is_null_never_nan(run: RunFolder) -> None:
    rows = metrics.compute(run, grader=GRADER, draws=500)
    run.write_metrics(rows)
    text = run.metrics_path.read_text()
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} in metrics.json"))
    assert run.metrics() == rows
    lone = {row.name: row for row in rows if row.subset == "subject=Geometry"}
    assert lone["pass@2"].value == 0
    assert (lone["pass@2"].stderr, lone["pass@2"].ci_low, lone["pass@2"].ci_high) == (None, None, None)


def test_nothing_graded_is_no_value(tmp_path: Path) -> None:
    found = table_of(write_run(tmp_path, {"p": (A, 1, None, (), ["truncated"] * 2)}))
    assert found["all", "avg@2"].value == 0
    assert found["all", "avg@2|graded"].value is None
    assert found["all", "avg@2|graded"].n_samples == 0


def test_subsets_of_one_benchmark(run: RunFolder) -> None:
    found = collect(run, GRADER).subsets
    names = ["all", "benchmark=alpha", "level=1", "level=2", "subject=Algebra", "subject=Geometry"]
    assert list(found) == [*names, "domain=x", "domain=y"]
    assert found["domain=y"].tolist() == [0, 1]
    assert found["level=2"].tolist() == [2, 3]


def test_subsets_of_two_benchmarks_do_not_mix_levels(tmp_path: Path) -> None:
    cases = {**CASES, "q0": (B, 1, None, (), [1, 1, 0, 0]), "q1": (B, 10, None, (), [1, 1, 0, 0])}
    found = collect(write_run(tmp_path, cases), GRADER).subsets
    assert list(found)[:7] == [
        "all",
        "benchmark=alpha",
        "benchmark=beta",
        "benchmark=alpha,level=1",
        "benchmark=alpha,level=2",
        "benchmark=beta,level=1",
        "benchmark=beta,level=10",
    ]
    assert found["benchmark=beta,level=1"].tolist() == [5]


def test_unequal_n_limits_k(tmp_path: Path) -> None:
    cases = {**CASES, "p5": (A, 1, None, (), [1, 1, 0, 0, 0, 0]), "p6": (A, 1, None, (), [1, 0, 0])}
    run = write_run(tmp_path, cases)
    found = table_of(run)
    named = {name for _, name in found if name.startswith("pass@")}
    assert named == {"pass@1", "pass@2", "pass@3", "pass@1|graded", "pass@6|forecast", "pass@12|forecast"}
    assert found["all", "avg"].value == pytest.approx(10 / 29)
    assert found["all", "pass@1"].value == pytest.approx((7 / 4 + 1 / 3 + 1 / 3) / 7)
    assert ("all", "mG-Pass@3") not in found
    with pytest.raises(UserError, match="k=4: k is between 1 and 3"):
        metrics.compute(run, grader=GRADER, ks=[1, 4])


def test_one_sample_a_problem(tmp_path: Path) -> None:
    names = {
        name for _, name in table_of(write_run(tmp_path, {"p": (A, 1, None, (), [1]), "q": (A, 1, None, (), [0])}))
    }
    assert {"avg@1", "pass@1", "maj@1", "Cover@0.25"} <= names
    assert not {name for name in names if "G-Pass" in name}


def test_above_n_a_forecast_stands_in_what_the_samples_leave_possible(run: RunFolder) -> None:
    found = table_of(run)
    names = {name for subset, name in found if name.endswith("|forecast")}
    assert names == {"pass@8|forecast", "pass@16|forecast"}
    assert {subset for subset, name in found if name in names} == {"all"}
    nearer, farther = (found["all", name] for name in ("pass@8|forecast", "pass@16|forecast"))
    assert found["all", "pass@4"].value < nearer.value < farther.value
    # of five problems hardly anything is known
    assert nearer.ci_low < nearer.value < nearer.ci_high
    assert (nearer.stderr, nearer.these_low, nearer.these_reason) == (None, None, "k is above n = 4")


def test_chosen_ks(run: RunFolder) -> None:
    names = {name for _, name in table_of(run, ks=[3, 1, 3])}
    assert {"pass@1", "pass@3", "maj@3"} <= names
    assert "pass@2" not in names


def test_samples_without_grade_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, skip_grade=3)
    with pytest.raises(UserError, match=r"3 of 20 samples .* no grade from toy"):
        metrics.compute(run, grader=GRADER)
    with pytest.raises(UserError, match=r"20 of 20 .* no grade from other \(graders there: toy\)"):
        metrics.compute(run, grader="other", partial=True)


def test_grades_without_sample_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 grades of toy .* no sample"):
        metrics.compute(write_run(tmp_path, skip_sample=2), grader=GRADER)


def test_repeated_rows_are_refused(run: RunFolder) -> None:
    with Appender(run.grades_path(GRADER)) as file:
        file.append([grade("p0", 0, CASES["p0"][4])])
    with pytest.raises(UserError, match=r"1 samples .* more than one grade row"):
        metrics.compute(run, grader=GRADER)


def test_unknown_problems_are_refused(run: RunFolder) -> None:
    with Appender(run.samples_path) as file:
        file.append([sample("stranger", 0, 1)])
    with pytest.raises(UserError, match="stranger has a Sample row"):
        metrics.compute(run, grader=GRADER)


def test_problems_without_samples_need_partial(tmp_path: Path) -> None:
    cases = {"empty": (A, 9, None, (), []), **CASES}
    run = write_run(tmp_path, cases)
    with pytest.raises(UserError, match=r"1 of 6 problems .* have no samples"):
        metrics.compute(run, grader=GRADER)
    found = table_of(run, partial=True)
    assert found["all", "avg@4"].value == pytest.approx(7 / 20)
    assert found["all", "avg@4"].n_problems == 5
    assert not [subset for subset, _ in found if subset == "level=9"]
    with pytest.raises(UserError, match="no samples"):
        metrics.compute(RunFolder(tmp_path / "nothing"), grader=GRADER, partial=True)


def test_the_same_run_gives_the_same_metrics(run: RunFolder) -> None:
    assert table_of(run) == table_of(run)
    first, second = table_of(run), table_of(run, seed=1)
    assert {key: row.value for key, row in first.items() if "maj" not in key[1]} == {
        key: row.value for key, row in second.items() if "maj" not in key[1]
    }


def test_row_order_does_not_matter(run: RunFolder) -> None:
    before = table_of(run)
    for path in (run.samples_path, run.grades_path(GRADER)):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(np.random.default_rng(0).permutation(lines).tolist()))
    assert table_of(run) == before


def test_thoughts_by_hand(tmp_path: Path) -> None:
    thought = "<|begin_of_thought|>" + 10 * "x" + " wait, check again" + "<|end_of_thought|>"
    whole = thought + "<|begin_of_solution|>\\boxed{1}<|end_of_solution|>"
    share = 28 / len(whole)
    texts = [whole, "no thought", whole + "more", "<|begin_of_thought|>hmm"]
    run = RunFolder(tmp_path)
    run.write_problems([problem("a", A, 1, None, ())])
    outcomes = [1, 1, 0, "truncated"]
    with Appender(run.samples_path) as file:
        rows = [sample("a", index, outcome) for index, outcome in enumerate(outcomes)]
        cut = [
            replace(row, text=text, n_tokens=100, finish_reason="stop") for row, text in zip(rows, texts, strict=True)
        ]
        file.append([*cut[:3], replace(cut[3], finish_reason="length")])
    with Appender(run.grades_path(GRADER)) as file:
        file.append([grade("a", index, outcomes) for index in range(4)])
    found = table_of(run)
    assert found["all", "thought"].value == 3 / 4
    assert found["all", "thought_whole"].value == pytest.approx(1 / 3)
    assert found["all", "thought_unended"].value == pytest.approx(1 / 3)
    assert found["all", "thought_tokens|right"].value == pytest.approx(100 * share)
    other = (100 * 28 / (len(whole) + 4) + 100 * 3 / 23) / 2
    assert found["all", "thought_tokens|other"].value == pytest.approx(other)
    assert found["all", "thought_tokens"].value == pytest.approx((100 * share + 2 * other) / 3)
    # "wait" and "check again"; then these and "hmm"
    assert found["all", "reflections|right"].value == 2
    assert found["all", "reflections|other"].value == 3 / 2
    # one more sample without a thought is right: it is in no mean over thoughts
    assert found["all", "avg@4"].value == 1 / 2


def test_runs_without_thoughts_have_no_such_metrics(run: RunFolder) -> None:
    assert not any("thought" in name or "reflections" in name for _, name in table_of(run))
