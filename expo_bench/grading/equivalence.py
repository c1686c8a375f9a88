"""Whether two answers are the same: math-verify, and what it needs around it. docs/grading.md tells the rules.

Runs in the worker processes of `judge`: `python -m expo_bench.grading.equivalence` is such a worker, see `serving`.
"""

import logging
import math
import re
from functools import lru_cache
from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import LatexExtractionConfig, parse, verify

from expo_bench.grading.boxed import last_boxed
from expo_bench.grading.extraction import MAX_LENGTH
from expo_bench.grading.serving import serve

MAX_DEPTH = 15
"""Brackets within brackets: the parser's time doubles with each few of them; those gold answers need 5."""
MAX_BITS = 1_000_000
"""Size of a number that is still computed, about 300,000 decimal digits."""
MAX_TERMS = 100_000
"""Terms of a sum or product that are still computed."""

# The whole box is the answer: no other pattern may pick a number out of it.
_WHOLE_BOX = (LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False),)
_UNICODE = str.maketrans(
    {"−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "°": r"^\circ ", "∞": r"\infty "}
    | {"≤": r"\le ", "≥": r"\ge ", "∪": r"\cup ", "∈": r"\in ", "±": r"\pm ", "√": r"\sqrt ", "\xa0": " "}
    | dict.fromkeys((*range(32), 127), " ")
)
_DELIMITER = re.compile(r"(?<!\\)(?:\$+|\\[()\[\]])")
_SENTENCE = re.compile(
    r"[A-Z][a-z]*\b.*\b(?:is|are|as|equals|if)\s*:?\s*(?:\$+|\\[(\[])(?P<math>[^$]+?)(?:\$+|\\[)\]])[\s.]*"
)
_AND = re.compile(r",?\s*(?:\\(?:text|mbox|mathrm)\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|\b(?:and|or)\b)\s*,?")
_SIDE = re.compile(r"\\(left|right)\s+")
_FRACTION = re.compile(r"\\[dt]?frac\s*(\{[^{}]*\}|[0-9A-Za-z])\s*([0-9A-Za-z])")
_FACTORIAL_POWER = re.compile(r"(\d+|[A-Za-z])!\s*\^")
_THOUSANDS = re.compile(r"(?<=\d)\\[,!;:]\s*(?=\d{3}(?!\d))")
_COUNTED = re.compile(r"(?P<number>-?(?:\\?\$)?[\d,]*\.?\d+(?:/\d+)?)(?: [A-Za-z][A-Za-z'-]{2,})+")
_CALCULATION = re.compile(r"\b(?:times|plus|minus|over|mod|half|dozen|hundred|[a-z]*(?:sand|llion))\b", re.IGNORECASE)
_BOLD_NUMBER = re.compile(r"\\(?:text|math)[a-z]*\s*\{\s*\(?\s*(-?[\d.,/]+)\s*\)?\s*\}")
# math-verify takes these for units (of "2 \\pi r h" it would leave "2 \\pi r"), unless they stand in braces
_LAST_VARIABLE = re.compile(r"(?<=[^A-Za-z\\])(?:[cdghlmost]|ab|bc|cc|lt|mp|mt|rd|rs|st|th)$")
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z]")
_TEXT = re.compile(r"\\(?:text|mbox|mathrm)\s*\{[^{}]*\}")
_WRAPPER = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|operatorname)\b\s*")
_WORDS = re.compile(r"[^\W\d_](?:[^\W\d_]|[,.'&-])*|[^\W\d_]{3}[\w,.'&-]*|\d{1,2}:\d\d(?:[ap]\.?m\.?)?", re.IGNORECASE)
_BASED = re.compile(r"-?[0-9]+_\{?(-?[0-9]+)\}?")


def check_gold(gold: str) -> bool:
    """Return whether answers can be judged by this gold answer: it is words or parses, and is equal to itself.

    Raises:
        TimeoutError: it is too large to be handled.
    """
    gold = _checked(gold)
    if words(gold):
        return True
    parsed = _parse(_keep_variable(gold))
    return parsed is not None and _verify(parsed, parsed)


def same(gold: str, answer: str) -> bool:
    """Return whether `answer` is `gold`, which comes first since math-verify is not symmetric.

    Raises:
        TimeoutError: one of them is too large to be handled.
    """
    gold, answer = _checked(gold), _checked(answer)
    if gold == answer or (words(gold) is not None and words(gold) == words(answer)):
        return True
    bases = [match[1] for match in map(_BASED.fullmatch, (gold, answer)) if match]
    if len(set(bases)) == 2:
        return False
    if _VARIABLE.search(_TEXT.sub("", gold)):
        gold, answer = _keep_variable(gold), _keep_variable(answer)
    left, right = _parse(gold), _parse(answer)
    if left is None or right is None:
        return False
    if left == right and not left.has(sympy.zoo, sympy.nan):
        return True
    if max(_bits(left), _bits(right)) > MAX_BITS:
        raise TimeoutError("a number with too many digits")
    return not _differ(_number(gold), _number(answer)) and _verify(left, right)


def tidy(text: str) -> str:
    r"""Return the answer without what does not belong to it, and with the LaTeX that math-verify misreads put right.

    A box, `$` and other delimiters, control characters and the full stop are dropped, "and" is a comma, missing braces
    at the end are added. Of a sentence such as "The smallest value of \(a\) is \(248\)." its end stays.
    """
    text = text.translate(_UNICODE).strip()
    text = last_boxed(text) or text
    if sentence := _SENTENCE.fullmatch(text):
        text = sentence["math"]
    text = _DELIMITER.sub(" ", text)
    text = _AND.sub(", ", text)
    text = re.sub(r"(?<!\\)%", r"\\%", text)
    text = _THOUSANDS.sub("", text)
    text = _BOLD_NUMBER.sub(r"\1", text)
    text = text.replace("!=", "! =")  # in LaTeX a factorial, never "differs from"
    text = text.replace(r"\varnothing", r"\emptyset")
    text = _SIDE.sub(r"\\\1", text)
    text = _FRACTION.sub(_braced_fraction, text)
    text = _FACTORIAL_POWER.sub(r"(\1!)^", text)
    text = " ".join(text.split())
    if not text.endswith(r"\right."):
        text = text.rstrip(" .,;:")
    if (counted := _COUNTED.fullmatch(text)) and not _CALCULATION.search(text):
        text = counted["number"]
    text += "}" * max(0, _open_braces(text))
    inside = last_boxed(rf"\boxed{text}") if text.startswith("{") else None
    return inside if inside and len(inside) == len(text) - 2 else text


def words(text: str) -> str | None:
    r"""Return the letters of an answer that is words, such as `\text{(C)}` or "east", or a time of day; else None.

    A single letter counts if it is marked as text or stands in brackets: otherwise it is a variable.
    """
    plain = _WRAPPER.sub("", text)
    bare = re.sub(r"[{}()\s~]|\\[ ,;!]", "", plain)
    if not _WORDS.fullmatch(bare) or (len(bare) == 1 and plain == text and "(" not in text):
        return None
    return bare.casefold()


def _keep_variable(text: str) -> str:
    return _LAST_VARIABLE.sub(r"{\g<0>}", text)


def _braced_fraction(match: re.Match[str]) -> str:
    numerator = match[1] if match[1].startswith("{") else f"{{{match[1]}}}"
    return rf"\frac{numerator}{{{match[2]}}}"


def _open_braces(text: str) -> int:
    braces = re.sub(r"\\.", "", text)
    return braces.count("{") - braces.count("}")


def _checked(text: str) -> str:
    """Return the tidy answer, if it can be parsed in any sensible time."""
    if len(text) > MAX_LENGTH:
        raise TimeoutError("an answer with too many characters")
    text = tidy(text)
    depth = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if depth > MAX_DEPTH:
            raise TimeoutError("brackets nested too deep")
    return text


@lru_cache(maxsize=1024)
def _parse(text: str) -> Any:
    """Return the sympy expression of a whole answer, None where it is none; the time limit is the worker's."""
    found = parse(f"\\boxed{{{text}}}", _WHOLE_BOX, fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if found else None


def _verify(gold: Any, answer: Any) -> bool:
    # raise_on_error: by default a failure reads as "wrong"
    return bool(verify(gold, answer, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True))


def _bits(expression: Any) -> float:
    """Return about how many bits the largest number has that evaluating `expression` would compute."""
    if isinstance(expression, sympy.Rational):
        return float(max(abs(expression.p), expression.q).bit_length())
    if isinstance(expression, sympy.factorial):
        largest = _magnitude(expression.args[0])
        return max(_bits(expression.args[0]), largest * math.log2(largest + 2))
    if isinstance(expression, (sympy.Pow, sympy.exp)):
        base, exponent = expression.as_base_exp()
        inner = max(_bits(base), _bits(exponent))
        return inner if base.free_symbols or base in (1, -1) else max(inner, _bits(base) * _magnitude(exponent))
    if isinstance(expression, (sympy.Sum, sympy.Product)) and any(
        _magnitude(bound) > MAX_TERMS for limit in expression.limits for bound in limit[1:] if bound.is_number
    ):
        return math.inf
    sizes = [_bits(part) for part in getattr(expression, "args", ())]
    return sum(sizes) if isinstance(expression, sympy.Mul) else max(sizes, default=2.0)


def _magnitude(expression: Any) -> float:
    if isinstance(expression, sympy.Integer):
        return abs(float(expression)) if expression.p.bit_length() < 1000 else math.inf
    bits = 0.0 if getattr(expression, "free_symbols", None) else _bits(expression)
    return 2.0**bits if bits < 1000 else math.inf


@lru_cache(maxsize=1024)
def _number(text: str) -> tuple[Any, Any] | None:
    """Return real and imaginary part of an answer that is a number; None for a percentage, which has two values."""
    expression = _parse(text)
    if not isinstance(expression, sympy.Expr) or expression.free_symbols or expression.has(sympy.UnevaluatedExpr):
        return None
    try:
        parts = expression.evalf(15).as_real_imag()
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    return parts if all(part.is_Number and part.is_finite for part in parts) else None


def _differ(left: tuple[Any, Any] | None, right: tuple[Any, Any] | None) -> bool:
    """Return whether two numbers are further apart than verify's rounding to 6 places allows: that saves `simplify`."""
    if left is None or right is None:
        return False
    allowed = 2e-6 + 1e-9 * max(map(abs, left + right))
    return any(abs(one - other) > allowed for one, other in zip(left, right, strict=True))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    serve({"gold": check_gold, "same": same})
