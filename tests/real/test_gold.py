"""Gold answers of the published benchmarks against themselves, expert solutions against gold answers."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from expo_bench.grading.judge import Attempt, Judge
from expo_bench.problems import load

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("EXPO_BENCH_DATA"), reason="EXPO_BENCH_DATA names no folder"),
]

BAD_GOLD: dict[str, str] = json.loads((Path(__file__).parents[1] / "data" / "bad_gold.json").read_text("utf-8"))
"""Problem id -> why the grader cannot read its gold answer."""
SPLITS = [
    ("math500", "test"),
    ("aime24", "test"),
    ("aime25", "test"),
    ("omni-math-rule", "test"),
    ("gsm8k", "test"),
    ("gsm8k", "train"),
]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(timeout_seconds=60.0) as judge:
        yield judge


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_gold_answers_are_right(name: str, split: str, judge: Judge) -> None:
    problems = load(name, split=split).problems
    attempts = (Attempt(gold=problem.answer, text=f"\\boxed{{{problem.answer}}}") for problem in problems)
    verdicts = dict(zip((problem.problem_id for problem in problems), judge.judge_many(attempts), strict=True))
    wrong = {key: verdict.status for key, verdict in verdicts.items() if verdict.correct is not True}
    print(f"{name}/{split}: {len(problems) - len(wrong)} of {len(problems)}, exceptions {wrong}")
    assert wrong == {key: "bad_gold" for key in verdicts if key in BAD_GOLD}
    assert len(wrong) <= 0.002 * len(problems)


@pytest.mark.parametrize("form", [r"${}$", r"\({}\)", r"\[ {} \]", " {} .", r"{{{}}}"])
def test_gold_answers_are_right_however_they_are_wrapped(form: str, judge: Judge) -> None:
    problems = [problem for problem in load("math500").problems if "$" not in problem.answer]
    texts = (f"\\boxed{{{form.format(problem.answer)}}}" for problem in problems)
    attempts = [Attempt(gold=p.answer, text=text) for p, text in zip(problems, texts, strict=True)]
    verdicts = list(judge.judge_many(attempts))
    wrong = [a.text for a, verdict in zip(attempts, verdicts, strict=True) if verdict.correct is not True]
    assert wrong == []


def test_gold_answers_of_other_problems_are_wrong(judge: Judge) -> None:
    problems = [problem for problem in load("math500").problems if not problem.answer.lstrip("-").isdigit()]
    pairs = [(one, other) for one, other in itertools.pairwise(problems) if one.answer != other.answer]
    attempts = (Attempt(gold=one.answer, text=f"\\boxed{{{other.answer}}}") for one, other in pairs)
    counts = Counter((verdict.status, verdict.correct) for verdict in judge.judge_many(attempts))
    assert counts["graded", False] >= 0.99 * len(pairs), counts


@pytest.mark.parametrize(("name", "share"), [("math500", 0.99), ("aime24", 0.9)])
def test_expert_solutions_are_right(name: str, share: float, judge: Judge) -> None:
    problems = load(name).problems
    attempts = (Attempt(gold=problem.answer, text=problem.solution or "") for problem in problems)
    right = sum(verdict.correct is True for verdict in judge.judge_many(attempts))
    print(f"{name}: {right} of {len(problems)} expert solutions")
    assert right >= share * len(problems)
