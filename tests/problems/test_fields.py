import pytest

from expo_bench.problems import fields
from expo_bench.problems.base import BadRow


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("70", "70"),
        (" 70 ", "70"),
        ("70.0", "70"),
        ("-70.00", "-70"),
        (70, "70"),
        (70.0, "70"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        ("0.50", "0.50"),
        (1e-7, "0.0000001"),
        (1e22, "1" + "0" * 22),
        ("3.0.0", "3.0.0"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        ("π", "π"),
        ("", ""),
        (None, ""),
    ],
)
def test_answer(value: object, text: str) -> None:
    assert fields.answer({"answer": value}) == text


def test_answer_that_is_not_there() -> None:
    assert fields.answer({}) == ""


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, float("nan"), float("inf"), "half \ud800 pair"])
def test_bad_answer(value: object) -> None:
    with pytest.raises(BadRow, match="answer"):
        fields.answer({"answer": value})


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (5, 5),
        (5.0, 5),
        ("5", 5),
        ("5.0", 5),
        ("Level 5", 5),
        ("level 5", 5),
        ("Level5", 5),
        (0, 0),
        ("Level ?", None),
        ("", None),
        (None, None),
    ],
)
def test_level(value: object, level: int | None) -> None:
    assert fields.level({"level": value}) == level


@pytest.mark.parametrize("value", ["hard", 4.5, True, [5], "5 or 6", float("nan"), "9" * 5000])
def test_bad_level(value: object) -> None:
    with pytest.raises(BadRow, match="whole number"):
        fields.level({"level": value})


def test_required_takes_the_first_field_with_text() -> None:
    assert fields.required({"question": " ", "problem": " x "}, "question", "problem") == "x"


@pytest.mark.parametrize("row", [{}, {"question": ""}, {"question": None}])
def test_required_missing(row: dict[str, object]) -> None:
    with pytest.raises(BadRow, match="has no question"):
        fields.required(row, "question")


@pytest.mark.parametrize("value", [5, ["x"], "\udc00"])
def test_text_that_is_none(value: object) -> None:
    with pytest.raises(BadRow, match="solution"):
        fields.optional({"solution": value}, "solution")
