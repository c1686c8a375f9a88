r"""Where in a row a value stands: a JMESPath expression, a template of several, or what a pattern finds in one.

gt                              a field; also one whose name is no expression, such as Problem Number
outputs[*].response             a JMESPath expression (https://jmespath.org)
/eval.model                     in the whole object that the rows were taken out of
{Body} {Question}               a template: expressions in braces
input ~ user\n(.*)\nassistant   what the first group of a regular expression holds; "." is any character
input ~ <chat>                what the last user asks in a text that a chat template made
#                               the number of the row, from 0
'org/model'                     JMESPath's way of writing a text that stands in no row
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from expo_bench.errors import UserError

ROW_NUMBER = "#"
_SLOT = re.compile(r"\{([^{}:]+)\}")
_MATCH = " ~ "
_CHAT = "<chat>"
# Qwen, Llama, Gemma, DeepSeek, Mistral and "User: ... Assistant:", each with its special tokens or, as decoded, without
_USER = (
    r"(?:\A|\n|<\|im_start\|>|<start_of_turn>|<\|start_header_id\|>)user(?:<\|end_header_id\|>)?\n",
    r"<｜User｜>",
    r"\[INST\]",
    r"(?:\A|\n)User:",
)
_END = r"(?:<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|</s>)?"
_ASSISTANT = (
    r"\n(?:<\|im_start\|>)?assistant\b.*",
    r"(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>)?(?:assistant|(?<=[\n>])model)(?:<\|end_header_id\|>)?\n\s*"
    r"(?:<think>\s*(?:</think>\s*)?)?",
    r"<｜Assistant｜>.*",
    r"\[/INST\].*",
    r"\n\s*Assistant:.*",
    r"<think>\s*",
)
_ASKED = rf"(?:.*(?:{'|'.join(_USER)})|\A)\s*(.*?)\s*{_END}\s*(?:{'|'.join(_ASSISTANT)})?\Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A row with what it was taken out of."""

    row: Mapping[str, Any]
    whole: Mapping[str, Any]
    number: int


@dataclass(frozen=True, slots=True)
class Path:
    """One declared path; see the module."""

    text: str

    def __post_init__(self) -> None:
        """See that it can be read.

        Raises:
            UserError: the expression or the pattern cannot be.
        """
        expression, pattern = _parts(self.text)
        if pattern is not None:
            _pattern(pattern)
        if expression == ROW_NUMBER:
            return
        for one in _SLOT.findall(expression) if _is_template(expression) else [expression.removeprefix("/")]:
            if not re.fullmatch(r"[\w .()/-]+", one):  # else the name of a column, which need not be an expression
                _compiled(one)

    def find(self, place: Place) -> Any:
        """Return the value; None where there is none."""
        expression, pattern = _parts(self.text)
        if _is_template(expression):
            values = [_search(slot, place) for slot in _SLOT.findall(expression)]
            if all(value is None for value in values):
                return None
            filled = iter("" if value is None else str(value) for value in values)
            found: Any = _SLOT.sub(lambda _: next(filled), expression).strip()
        else:
            found = _search(expression, place)
        if pattern is None or found is None:
            return found
        return _matched(_pattern(pattern), found)


def _parts(text: str) -> tuple[str, str | None]:
    expression, tilde, pattern = text.partition(_MATCH)
    return expression.strip(), pattern if tilde else None


def _is_template(expression: str) -> bool:
    return bool(_SLOT.search(expression))


def _search(expression: str, place: Place) -> Any:
    if expression == ROW_NUMBER:
        return place.number
    source = place.row
    if expression.startswith("/"):
        expression, source = expression[1:], place.whole
    if expression in source:
        return source[expression]
    try:
        compiled = _compiled(expression)
    except UserError:
        return None  # the name of a column that this row lacks
    import jmespath

    try:
        return compiled.search(source)
    except jmespath.exceptions.JMESPathError:
        return None  # a function that this row's value is nothing for


def _matched(pattern: re.Pattern[str], value: Any) -> Any:
    if isinstance(value, list):
        # the messages of a conversation are no texts: who reads it takes what is said
        return value if value and isinstance(value[0], dict) else [_matched(pattern, one) for one in value]
    found = pattern.search(value if isinstance(value, str) else json.dumps(value))
    if found is None:
        return None
    return found[1] if pattern.groups else found[0]


@cache
def _compiled(expression: str) -> Any:
    import jmespath

    try:
        return jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise UserError(f"the path {expression!r} is no JMESPath expression: {reason}") from error


@cache
def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(_ASKED if text == _CHAT else text, re.DOTALL)
    except re.error as error:
        raise UserError(f"{text!r} is no regular expression: {error}") from error
