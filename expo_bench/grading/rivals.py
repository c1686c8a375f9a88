"""Second opinions: math-verify as it comes, and the string rule of the Hendrycks harness. They run in the workers."""

import re

from expo_bench.grading.boxed import last_boxed

MATH_VERIFY, HENDRYCKS = "math-verify-plain", "hendrycks-string"
RIVALS = (MATH_VERIFY, HENDRYCKS)
"""Names of the graders beside our own."""
MOST_TEXT = 4000
"""Letters at the end of a text that they are given."""

_TRIVIA = re.compile(r"\\!|\\left|\\right|\^\{?\\circ\}?|\\\$|\\?%|\$|\s+|\\text\{\s[^{}]*\}\Z")
_BARE_FRACTION = re.compile(r"\\frac(\d)(\d)")
_BARE_ROOT = re.compile(r"\\sqrt(\w)")
_SLASH = re.compile(r"(-?\d+)/(\d+)")
_NAMED = re.compile(r"\w{1,2}=(.+)")


def math_verify_plain(gold: str, text: str) -> bool:
    """Return what math-verify says of a text, with its own extraction and without any rule of ours."""
    from math_verify import parse, verify

    expected = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
    return bool(verify(expected, parse(text, parsing_timeout=None), timeout_seconds=None))


def hendrycks_string(gold: str, text: str) -> bool:
    """Return whether the last box holds the gold answer, letter by letter after a few rules of spelling."""
    answer = last_boxed(text)
    return answer is not None and _spelled(answer) == _spelled(gold)


def _spelled(text: str) -> str:
    text = text.replace(r"\\", "\\").replace("tfrac", "frac").replace("dfrac", "frac")
    text = _TRIVIA.sub("", text)
    text = re.sub(r"(?<!\d)\.(?=\d)", "0.", text)
    if named := _NAMED.fullmatch(text):
        text = named[1]
    text = _BARE_FRACTION.sub(r"\\frac{\1}{\2}", _BARE_ROOT.sub(r"\\sqrt{\1}", text))
    if text == "0.5":
        return r"\frac{1}{2}"
    slash = _SLASH.fullmatch(text)
    return rf"\frac{{{slash[1]}}}{{{slash[2]}}}" if slash else text
