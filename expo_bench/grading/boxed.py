r"""The content of the last \boxed{} of a text: the convention of MATH solutions and of the prompts here."""

import re
from dataclasses import dataclass

_NAMES = r"boxed|fbox|framebox|box"
_BOX = re.compile(rf"\\?(?:{_NAMES})(?![A-Za-z])")
# A run of backslashes is one token. Read pair by pair, a long run would be scanned again from each of its places.
_TOKEN = re.compile(
    rf"(?P<slashes>\\+)(?:(?P<box>(?:{_NAMES})(?![A-Za-z]))|(?P<maybe_escaped>[{{}}]))?"
    rf"|(?P<bare>\bboxed(?=\{{))|(?P<brace>[{{}}])"
)
_NUMBER_OR_LETTER = re.compile(r"[-+]?\d+(?:[.,/]\d+)*|[A-Za-z](?![A-Za-z])")
_MACRO = re.compile(r"\\[A-Za-z]+")
_BARE_FRACTION = re.compile(r"\\[dtc]?frac\s*\d\s*\d|\\sqrt\s*\d")
_SPACE = re.compile(r"\s*")
_PLACEHOLDER = re.compile(
    r"(?:\\(?:text|mathrm|textbf)\s*\{)?\s*[<\[]?(?:(?:your|the|final"
    r"|my)\s+)*answer(?:\s+here)?[>\]]?\s*\}?|\.{3}|\\[lc]?dots",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Box:
    """What a box holds, and where it ends in its text."""

    content: str
    end: int


def last_boxed(text: str) -> str | None:
    r"""Return what the last closed \boxed of `text` holds, without outer white space; None if there is none.

    A box whose braces do not balance or that is empty (a text that ends by quoting "\boxed{}" or "\boxed{answer}")
    holds nothing: the one before it counts. \fbox, \framebox, \box, and boxed{...} without a backslash are boxes too.
    Without braces the argument is a number (`\boxed 5`), a letter, or a macro with its braces (`\boxed\frac{1}{2}`).
    Escaped braces do not count as braces. Linear in the length of any text.
    """
    box = last_box(text)
    return None if box is None else box.content


def last_box(text: str, *, open_too: bool = False) -> Box | None:
    """Return the last box, see `last_boxed`; with `open_too` a box that is never closed holds the rest of its line."""
    first = _BOX.search(text)
    if first is None:
        return None
    boxes, closes = _match_braces(text, first.start())
    for start in reversed(boxes):
        box = _argument(text, start, closes) or (_open_argument(text, start, closes) if open_too else None)
        if box and box.content and not _PLACEHOLDER.fullmatch(box.content):
            return box
    return None


def _match_braces(text: str, start: int) -> tuple[list[int], dict[int, int]]:
    """Return where each box command ends, and for each `{` that is closed the place of its `}`."""
    boxes: list[int] = []
    closes: dict[int, int] = {}
    opened: list[int] = []
    for token in _TOKEN.finditer(text, start):
        if token["box"] or token["bare"]:
            boxes.append(token.end())
            continue
        brace = token["brace"]
        if token["maybe_escaped"] and len(token["slashes"]) % 2 == 0:  # `\\{` is a line break and a true brace
            brace = token["maybe_escaped"]
        if brace == "{":
            opened.append(token.end() - 1)
        elif brace and opened:
            closes[opened.pop()] = token.end() - 1
    return boxes, closes


def _argument(text: str, start: int, closes: dict[int, int]) -> Box | None:
    start = _skip_space(text, start)
    if start in closes:
        return Box(text[start + 1 : closes[start]].strip(), closes[start] + 1)
    if bare := _NUMBER_OR_LETTER.match(text, start) or _BARE_FRACTION.match(text, start):
        return Box(bare[0], bare.end())
    if macro := _MACRO.match(text, start):
        end = macro.end()
        while end in closes:
            end = closes[end] + 1
        return Box(text[start:end], end) if end > macro.end() else None
    return None


def _open_argument(text: str, start: int, closes: dict[int, int]) -> Box | None:
    start = _skip_space(text, start)
    if not text.startswith("{", start) or start in closes:
        return None
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return Box(text[start + 1 : end].strip(), end)


def _skip_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start
