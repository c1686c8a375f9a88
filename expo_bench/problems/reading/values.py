r"""From the values that a mapping finds to texts, gold answers, verdicts. Pure functions; a bad value raises BadRow.

A conversation stands for what its last user asks, or its last assistant says: [{"role": "user", "content": "..."}],
with the names of other tools (from, value, prompt), and contents in parts.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

from expo_bench.grading.boxed import last_boxed
from expo_bench.problems import fields
from expo_bench.problems.base import BadRow

_USER = {"user", "human"}
_ASSISTANT = {"assistant", "gpt", "bot", "model", "ai"}
_RIGHT = {"c", "correct", "true", "right", "yes", "1", "1.0", "pass", "passed"}
_WRONG = {"i", "incorrect", "false", "wrong", "no", "0", "0.0", "-1", "-1.0", "n", "fail", "failed"}
_CUT_OFF = {"length", "max_tokens", "max_token", "model_length", "truncated", "max_length", "token_limit"}
_CALCULATION = re.compile(r"<<[^<>]*>>")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")
GOLD_MARK = "####"


def question_text(value: Any, name: str) -> str | None:
    """Return the question of a text or a conversation, without outer white space; None where there is none."""
    return _text(value, name, _USER, {"system"})


def completion_texts(value: Any) -> list[str | None]:
    """Return the completions of a text, a conversation, or a list of either; None for one that the row lacks.

    Lists of texts in a list, one a request as lm-eval has them, are one list.
    """
    values = value if isinstance(value, list) and not is_conversation(value) and not _is_parts(value) else [value]
    if all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in values):
        values = [text for one in values for text in one]
    return [_completion(one) for one in values]


def gold_answer(value: Any) -> str:
    r"""Return the gold answer, empty if there is none.

    Of a worked solution it is what stands after its last "####", else in its last box; a list of one is its element,
    the elements of a longer one stand with commas between, each without the dollars around it.
    """
    if isinstance(value, list | tuple):
        parts = [gold_answer(one) for one in value]
        parts = [_undollared(part) for part in parts if part]
        return ", ".join(parts)
    text = fields.answer({"answer": format(value, "f") if isinstance(value, Decimal) else value})
    if GOLD_MARK in text:
        after = text.rpartition(GOLD_MARK)[2].strip().splitlines()
        return fields.answer({"answer": _THOUSANDS.sub("", after[0])}) if after else ""
    return last_boxed(text) or text


def tolerances(value: Any) -> list[float]:
    """Return how far numbers may be away from a gold answer's: of 0.1, "1e-1", "0.1,0.2" or a list; empty for null.

    Raises:
        BadRow: one of them is no number above 0.
    """
    parts = value if isinstance(value, list) else str(value).split(",") if value not in (None, "") else []
    try:
        found = [float(part) for part in parts]
    except (TypeError, ValueError):
        found = [0.0]
    if not all(isfinite(one) and one > 0 for one in found):
        raise BadRow(f"the tolerance is {value!r}; write a number above 0, such as 0.1")
    return found


def worked_solution(value: Any) -> str | None:
    """Return the solution that an answer of GSM8K's shape is; None where nothing stands before its "####"."""
    if not isinstance(value, str) or not value.rpartition(GOLD_MARK)[0].strip():
        return None
    return _CALCULATION.sub("", value).strip()


def optional_text(value: Any, name: str) -> str | None:
    """Return a text, or the texts of a list with line breaks between; numbers become texts."""
    if isinstance(value, list):
        return "\n".join(filter(None, (optional_text(one, name) for one in value))) or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return fields.optional({name: value}, name)


def subject_text(value: Any) -> str | None:
    """Return the subject that an element of a list names; None where it is no text."""
    return value.strip() or None if isinstance(value, str) else None


def verdict(value: Any) -> bool | None:
    """Return what a file's own score says of a completion: right, wrong, or None where it says neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and len(value) == 1:
        return verdict(value[0])
    text = str(value).strip().lower() if isinstance(value, str | int | float) else ""
    return True if text in _RIGHT else False if text in _WRONG else None


def is_cut_off(value: Any) -> bool:
    """Tell whether a finish reason, under the names of several tools, says that a limit ended the completion."""
    return value is True or (isinstance(value, str) and value.strip().lower() in _CUT_OFF)


def token_count(value: Any) -> int | None:
    """Return a number of tokens, given as such or as the list of their ids."""
    if isinstance(value, bool):
        return None
    if isinstance(value, list):
        return len(value) if all(isinstance(one, int) for one in value) else None
    return int(value) if isinstance(value, int | float) and value == value and value >= 0 else None


def _completion(value: Any) -> str | None:
    if value is None:
        return None
    found = _text(value, "text", _ASSISTANT, set())
    return "" if found is None else found


def _text(value: Any, name: str, wanted: set[str], never: set[str]) -> str | None:
    if is_conversation(value):
        said = [one for one in value if _role(one) in wanted] or [one for one in value if _role(one) not in never]
        value = _content(said[-1]) if said else None
    if _is_parts(value):
        value = "\n".join(str(one["text"]) for one in value if one.get("text"))
    if isinstance(value, str) and name == "text":
        return value
    return fields.optional({name: value}, name)


def is_conversation(value: Any) -> bool:
    """Return whether a value is a list of messages with roles."""
    return _objects(value) and all("role" in one or "from" in one for one in value)


def _is_parts(value: Any) -> bool:
    return _objects(value) and all("type" in one for one in value) and any("text" in one for one in value)


def _objects(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(one, dict) for one in value)


def _role(message: dict[str, Any]) -> str:
    return str(message.get("role") or message.get("from")).lower()


def _content(message: dict[str, Any]) -> Any:
    return next((message[name] for name in ("content", "value", "prompt") if message.get(name) is not None), None)


def _undollared(text: str) -> str:
    inner = text[1:-1] if len(text) > 2 and text[0] == text[-1] == "$" else text
    return text if "$" in inner else inner.strip()
