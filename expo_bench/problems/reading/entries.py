"""Rows -> what they say of a problem, by a mapping; which rows are bad, and what becomes of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from expo_bench.errors import UserError
from expo_bench.grading.boxed import last_boxed
from expo_bench.grading.tolerances import with_tolerance
from expo_bench.problems import fields
from expo_bench.problems.base import BadRow, Entry, Row
from expo_bench.problems.reading import values
from expo_bench.problems.reading.mapping import FieldMap, field_map
from expo_bench.problems.reading.paths import Place

Made = TypeVar("Made")
DEFAULT = field_map(
    {
        "question": "question || problem || Question || Problem",
        "answer": "answer || Answer",
        "solution": "solution || Solution",
        "level": "level",
        "subject": "subject",
        "source": "source",
    },
    "the default",
    "default",
)
"""Of a user's own problems."""


def entry(mapping: FieldMap, place: Place) -> Entry:
    """Return what a row says of its problem; the answer is empty where it has none.

    Raises:
        BadRow: it has no question, or a value that cannot be read.
    """
    question = values.question_text(mapping.value("question", place), "question")
    if not question:
        wanted = "question or problem" if mapping.name == DEFAULT.name else "question"
        raise BadRow(f"has no {wanted}; write it as text in the field 'question'")
    said = mapping.value("answer", place)
    answer = values.gold_answer(said)
    solution = values.optional_text(mapping.value("solution", place), "solution") or values.worked_solution(said)
    if said is None and solution:
        answer = last_boxed(solution) or ""
    answer = with_tolerance(answer, values.tolerances(mapping.value("tolerance", place)))
    subjects = mapping.value("subject", place)
    domain = tuple(filter(None, map(values.subject_text, subjects))) if isinstance(subjects, list) else ()
    return Entry(
        question=question,
        answer=answer,
        solution=solution,
        level=fields.level({"level": mapping.value("level", place)}),
        subject=domain[0] if domain else values.optional_text(subjects, "subject"),
        domain=domain,
        source=values.optional_text(mapping.value("source", place), "source"),
    )


def each(
    rows: Iterable[tuple[str, Row]], mapping: FieldMap, make: Callable[[Place], Made], bad: list[tuple[str, str]]
) -> Iterator[tuple[str, Made]]:
    """Yield what is made of each row, with its place; rows that cannot be read are added to `bad`."""
    for number, (place, row) in enumerate(rows):
        for one in mapping.expand(row, number):
            try:
                yield place, make(one)
            except BadRow as error:
                bad.append((place, str(error)))


def refuse_bad(bad: Sequence[tuple[str, str]], n_rows: int, skip: bool, how: str) -> list[str]:
    """Return the places and reasons of the rows that are left out.

    Raises:
        UserError: there are such rows, and the user did not ask for that.
    """
    if not bad or skip:
        return [f"{place}: {reason}" for place, reason in bad]
    place, reason = bad[0]
    others = f", as are {len(bad) - 1} more" if len(bad) > 1 else ""
    raise UserError(
        f"{place}: {reason}; this row of {n_rows}{others} cannot be read: mend it, or leave such rows out with {how}"
    )
