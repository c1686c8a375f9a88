r"""The content of the last \boxed{} of a text: the convention of MATH solutions and of the prompts here."""

import re

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
# A run of backslashes is one token. Read pair by pair, a long run would be scanned again from each of its places.
_TOKEN = re.compile(r"(?P<slashes>\\+)(?:(?P<box>(?:boxed|fbox)(?![A-Za-z]))|(?P<maybe_escaped>[{}]))?|(?P<brace>[{}])")
_NUMBER_OR_LETTER = re.compile(r"[-+]?\d+(?:[.,/]\d+)*|[A-Za-z](?![A-Za-z])")
_MACRO = re.compile(r"\\[A-Za-z]+")
_SPACE = re.compile(r"\s*")


def last_boxed(text: str) -> str | None:
    r"""Return what the last \boxed or \fbox of `text` holds, without outer white space; None if there is none.

    A box whose braces do not balance or that is empty (a text that ends by quoting "\boxed{}") holds nothing: the one
    before it counts. Without braces the argument is a number (`\boxed 5`), a letter, or a macro with its braces
    (`\boxed\frac{1}{2}`). Escaped braces do not count as braces. Linear in the length of any text.
    """
    first = _BOX.search(text)
    if first is None:
        return None
    boxes, closes = _match_braces(text, first.start())
    for start in reversed(boxes):
        content = _argument(text, start, closes)
        if content:
            return content
    return None


def _match_braces(text: str, start: int) -> tuple[list[int], dict[int, int]]:
    """Return where each box command ends, and for each `{` that is closed the place of its `}`."""
    boxes: list[int] = []
    closes: dict[int, int] = {}
    opened: list[int] = []
    for token in _TOKEN.finditer(text, start):
        if token["box"]:
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


def _argument(text: str, start: int, closes: dict[int, int]) -> str | None:
    start = _skip_space(text, start)
    if start in closes:
        return text[start + 1 : closes[start]].strip()
    if bare := _NUMBER_OR_LETTER.match(text, start):
        return bare[0]
    if macro := _MACRO.match(text, start):
        end = macro.end()
        while end in closes:
            end = closes[end] + 1
        return text[start:end] if end > macro.end() else None
    return None


def _skip_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start
