"""The benchmarks as published, from the folder that EXPO_BENCH_DATA names."""

import os

import pytest

from expo_bench.grading.boxed import last_boxed
from expo_bench.problems import load
from expo_bench.problems.omni_math import REPAIRED

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("EXPO_BENCH_DATA"), reason="EXPO_BENCH_DATA names no folder"),
]


@pytest.mark.parametrize(
    ("name", "split", "count", "levels", "n_subjects"),
    [
        ("math500", "test", 500, {1, 2, 3, 4, 5}, 7),
        ("aime24", "test", 30, {None}, 0),
        ("aime25", "test", 30, {None}, 0),
        ("omni-math-rule", "test", 2821, set(range(1, 10)), 7),
        ("gsm8k", "train", 7473, {None}, 0),
        ("gsm8k", "test", 1319, {None}, 0),
        ("math", "test", 5000, {1, 2, 3, 4, 5}, 7),
        ("aime22-24", "test", 90, {None}, 0),
        ("aime26", "test", 30, {None}, 0),
        ("hmmt-feb25", "test", 30, {None}, 4),
        ("brumo25", "test", 30, {None}, 4),
        ("cmimc25", "test", 40, {None}, 4),
        ("amc23", "test", 40, {None}, 0),
        ("minerva", "test", 272, {None}, 9),
        ("olympiadbench", "test", 674, {None}, 4),
        ("olymmath-easy", "test", 100, {None}, 4),
        ("olymmath-hard", "test", 100, {None}, 4),
    ],
)
def test_benchmark(name: str, split: str, count: int, levels: set[int | None], n_subjects: int) -> None:
    loaded = load(name, split=split)
    problems = loaded.problems
    assert len(problems) == count == loaded.provenance["n_problems"]
    assert loaded.provenance["digest_status"] == "match"
    assert len({problem.problem_id for problem in problems}) == count
    assert {problem.level for problem in problems} == levels
    assert len({problem.subject for problem in problems} - {None}) == n_subjects
    assert all(problem.question and problem.answer for problem in problems)
    if name == "omni-math-rule":
        assert [warning.partition(": ")[2] for warning in loaded.warnings] == [
            f"53 of 2821 problems {REPAIRED}",
            "5 of 2821 problems repeat the question of an earlier one: their ids end in -2, -3 and so on",
        ]
    else:
        assert loaded.warnings == []


def test_aime_answers_are_whole_numbers_to_999() -> None:
    for name in ("aime24", "aime25"):
        assert all(str(int(problem.answer)) == problem.answer for problem in load(name).problems)
        assert all(0 <= int(problem.answer) <= 999 for problem in load(name).problems)


def test_gsm8k_answers_are_whole_numbers() -> None:
    assert all(str(int(problem.answer)) == problem.answer for problem in load("gsm8k").problems)


def test_math500_answers_are_in_the_last_box_of_the_solution() -> None:
    for problem in load("math500").problems:
        assert last_boxed(problem.solution or "") == problem.answer, problem.problem_id


def test_omni_math_has_no_damaged_answer() -> None:
    for problem in load("omni-math-rule").problems:
        assert not set("\f\t\b") & set(problem.answer), problem.problem_id
