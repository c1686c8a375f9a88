"""Text from models and data sets, made safe to look at."""

import re
from typing import NamedTuple

# what hides, moves or reorders its neighbours: controls but tab and newline, overrides of direction, surrogates
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff]"
    "|[\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return the text with every character that has no look of its own replaced by a sign."""
    return _UNSEEN.sub(_sign, text.replace("\r\n", "\n"))


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"[U+{code:04X}]"


class Excerpt(NamedTuple):
    """A text, or its beginning and end with the number of characters left out between them."""

    head: str
    tail: str
    left_out: int


def excerpt(text: str, limit: int, *, tail: int = 0) -> Excerpt:
    """Return at most about `limit` characters of the text, the last `tail` of which come from its end.

    No excerpt takes more than three bytes a character in a page, whatever the text is made of.
    """
    head_limit = limit - tail
    if len(text) <= limit:
        head_limit, tail = len(text), 0
    head = _fit(visible(text[:head_limit]), 3 * max(head_limit, 20))
    end = _fit(visible(text[len(text) - tail :])[::-1], 3 * tail)[::-1] if tail else ""
    kept = min(len(head), head_limit) + min(len(end), tail)
    return Excerpt(head, end, max(len(text) - kept, 0))


def _fit(text: str, allowance: int) -> str:
    """Cut the text so that its escaped bytes are at most `allowance`."""
    while (size := len(text.encode()) + 5 * sum(map(text.count, "&<>\"'"))) > allowance:
        text = text[: min(len(text) * allowance // size, len(text) - 1)]
    return text


def short(text: str, limit: int) -> str:
    """Return one line of at most `limit` characters."""
    line = " ".join(visible(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
