"""Invented rows of each published shape, and what is read from them."""

from typing import Any

import pytest

from expo_bench.problems import aime, gsm8k, math, omni_math
from expo_bench.problems.base import BadRow


def test_math_takes_the_answer_from_the_last_box() -> None:
    row = {
        "problem": "Double 3.",
        "level": "Level 2",
        "type": "Counting & Probability",
        "solution": r"Not \boxed{5}: it is $\boxed{\frac{12}{2}}$.",
    }
    entry = math.parse_math(row)
    assert (entry.question, entry.answer) == ("Double 3.", r"\frac{12}{2}")
    assert (entry.level, entry.subject, entry.solution) == (2, "Counting & Probability", row["solution"])


@pytest.mark.parametrize("solution", ["It is 6.", "", None])
def test_math_without_a_box_has_no_answer(solution: str | None) -> None:
    assert math.parse_math({"problem": "Double 3.", "level": "Level ?", "solution": solution}).answer == ""


def test_math500() -> None:
    row = {
        "problem": "Double 3.",
        "solution": r"\boxed{6}",
        "answer": "6",
        "subject": "Prealgebra",
        "level": 1,
        "unique_id": "test/prealgebra/0.json",
    }
    entry = math.parse_math500(row)
    assert (entry.answer, entry.level, entry.subject) == ("6", 1, "Prealgebra")
    assert entry.source == "test/prealgebra/0.json"


@pytest.mark.parametrize(
    ("value", "answer"), [("033", "33"), ("000", "0"), ("7", "7"), (33, "33"), (33.0, "33"), ("33.0", "33"), ("", "")]
)
def test_aime_answers_have_no_leading_zeros(value: object, answer: str) -> None:
    assert aime.parse({"id": 1, "problem": "How many?", "answer": value}).answer == answer


def test_aime_without_solution() -> None:
    entry = aime.parse({"id": "0", "problem": "How many?", "answer": "7"})
    assert (entry.solution, entry.level, entry.subject, entry.source) == (None, None, None, None)


def omni_row(**changes: Any) -> dict[str, Any]:
    row = {
        "domain": ["Mathematics -> Algebra -> Prealgebra", "Mathematics -> Discrete Mathematics -> Graph Theory"],
        "difficulty": 4.5,
        "problem": "How many?",
        "solution": "Seven.",
        "answer": "7",
        "source": "somewhere",
    }
    return row | changes


@pytest.mark.parametrize(
    ("difficulty", "level"),
    [(1.0, 1), (1.5, 1), (2.0, 2), (3.0, 3), (4.0, 4), (4.75, 4), (5, 5), (6.99, 6), (7.0, 7), (9.5, 9), (None, None)],
)
def test_omni_math_level_is_the_difficulty_rounded_down(difficulty: float | None, level: int | None) -> None:
    assert omni_math.parse(omni_row(difficulty=difficulty)).level == level


@pytest.mark.parametrize("difficulty", [0.5, 10, "hard", True, float("nan")])
def test_omni_math_bad_difficulty(difficulty: object) -> None:
    with pytest.raises(BadRow, match="difficulty"):
        omni_math.parse(omni_row(difficulty=difficulty))


@pytest.mark.parametrize(
    ("chains", "domain"),
    [
        (["Mathematics -> Algebra -> Prealgebra"], ("Algebra",)),
        (["Mathematics -> Algebra -> A", "Mathematics -> Algebra -> B"], ("Algebra",)),
        (["Mathematics -> Geometry", "Mathematics -> Algebra -> B"], ("Geometry", "Algebra")),
        (["Mathematics"], ("Mathematics",)),
        (["Physics -> Optics"], ("Physics",)),
        ([], ()),
        (None, ()),
    ],
)
def test_omni_math_domains(chains: list[str] | None, domain: tuple[str, ...]) -> None:
    entry = omni_math.parse(omni_row(domain=chains))
    assert entry.domain == domain
    assert entry.subject == (domain[0] if domain else None)


@pytest.mark.parametrize("chains", ["Mathematics -> Algebra", [1]])
def test_omni_math_bad_domain(chains: object) -> None:
    with pytest.raises(BadRow, match="domain"):
        omni_math.parse(omni_row(domain=chains))


@pytest.mark.parametrize(
    ("damaged", "whole"),
    [
        ("\frac{1}{2}", r"\frac{1}{2}"),
        ("2 \times 3", r"2 \times 3"),
        ("\triangle ABC", r"\triangle ABC"),
        ("\binom{4}{2}", r"\binom{4}{2}"),
        ("so\tthe end", "so\tthe end"),
        ("the fi\frst time", "the fi\frst time"),
        ("a\timesheet", "a\timesheet"),
    ],
)
def test_omni_math_repairs_only_what_was_a_command(damaged: str, whole: str) -> None:
    entry = omni_math.parse(omni_row(problem=f"What is {damaged}?", answer=damaged))
    assert entry.question == f"What is {whole}?"
    assert entry.answer == whole
    assert (entry.note is None) == (damaged == whole)


@pytest.mark.parametrize(
    ("text", "answer", "solution"),
    [
        ("2*600=<<2*600=1200>>1200 eggs.\n#### 1,200", "1200", "2*600=1200 eggs.\n#### 1,200"),
        ("So -3.\n#### -3", "-3", "So -3.\n#### -3"),
        ("#### 5", "5", None),
        ("#### is no mark.\n#### 5", "5", "#### is no mark.\n#### 5"),
        ("There is no mark.", "", None),
    ],
)
def test_gsm8k(text: str, answer: str, solution: str | None) -> None:
    entry = gsm8k.parse({"question": "How many?", "answer": text})
    assert (entry.answer, entry.solution) == (answer, solution)
