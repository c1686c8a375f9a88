"""From the values that published rows hold to the values of a Problem. Pure functions; a bad value raises BadRow."""

import re
from decimal import Decimal
from math import isfinite
from typing import Any

from expo_bench.problems.base import BadRow, Row

_WHOLE_FLOAT = re.compile(r"([-+]?\d+)\.0+")
_LEVEL = re.compile(r"(?:level\s*)?(-?\d{1,9})(?:\.0+)?", re.IGNORECASE)


def required(row: Row, *names: str) -> str:
    """Return the text of the first of the fields that has one."""
    for name in names:
        if value := optional(row, name):
            return value
    raise BadRow(f"has no {' or '.join(names)}; write it as text in the field {names[0]!r}")


def optional(row: Row, name: str) -> str | None:
    """Return the text of a field without outer white space; None if it is missing or empty."""
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRow(f"field {name!r} is no text but {_shown(value)}")
    return _checked(value.strip(), name) or None


def answer(row: Row, name: str = "answer") -> str:
    """Return the gold answer as text, empty if there is none; 70.0 and "70.0" are "70"."""
    value = row.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow(f"{name!r} is neither text nor a number but {_shown(value)}")
    if isinstance(value, float):
        if not isfinite(value):
            raise BadRow(f"{name!r} is {value}, which is no number")
        value = format(Decimal(repr(value)), "f")  # no exponent: graders do not read 1e-07
    text = _checked(str(value).strip(), name)
    whole = _WHOLE_FLOAT.fullmatch(text)
    return whole[1] if whole else text


def level(row: Row, name: str = "level") -> int | None:
    """Return the level of 5, 5.0, "5" or "Level 5"; None where it is missing or, as in MATH, "Level ?"."""
    value = row.get(name)
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "?", "level ?")):
        return None
    # a boolean's text, "True", does not match
    match = _LEVEL.fullmatch(str(value).strip())
    if match is None:
        raise BadRow(f"{name!r} is {_shown(value)}; write a whole number such as 3, or leave it out")
    return int(match[1])


def _checked(text: str, name: str) -> str:
    # JSON can spell half of a surrogate pair, which no file and no model can take
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadRow(f"{name!r} holds half of a surrogate pair; replace the broken \\u escape") from error
    return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
