"""JSON-lines files: those of published benchmarks in a data folder, and the user's own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError
from expo_bench.problems import fields
from expo_bench.problems.base import BadRow, Entry, Row

USER_SHAPE = '{"question": "1 + 1?", "answer": "2", "solution": "...", "level": 1, "subject": "Sums"}'


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield for each line that is not blank its place, "file:line", and its object.

    Raises:
        UserError: the file cannot be read, or a line is not one JSON object.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                place = f"{path}:{number}"
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark, as some editors write it
                if line.strip():
                    yield place, _object(line, place)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _object(line: bytes, place: str) -> Row:
    try:
        row: Any = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not JSON ({error}); write one object a line, such as {USER_SHAPE}") from error
    if not isinstance(row, dict):
        raise UserError(f"{place}: not a JSON object; write one a line, such as {USER_SHAPE}")
    return row


def benchmark_name(path: Path) -> str:
    """Return the name under which a user's file goes into ids and tables."""
    return re.sub(r"[^\w.-]+", "-", path.stem)


def parse_user_row(row: Row) -> Entry:
    """Read a row of a user's file: question (or problem) and answer; solution, level and subject may be left out."""
    question = fields.required(row, "question", "problem")
    answer = fields.answer(row)
    if not answer:
        raise BadRow("has no answer; write the gold answer in the field 'answer'")
    return Entry(
        question=question,
        answer=answer,
        solution=fields.optional(row, "solution"),
        level=fields.level(row),
        subject=fields.optional(row, "subject"),
        source=fields.optional(row, "source"),
    )
