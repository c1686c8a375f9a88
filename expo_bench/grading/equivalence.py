"""Whether two answers are the same. docs/grading.md tells the rules.

Runs in the worker processes of `judge`: `python -m expo_bench.grading.equivalence` is such a worker, see `serving`.
"""

import logging
import re
from collections.abc import Sequence

from expo_bench.grading.choices import same_words, words
from expo_bench.grading.comparison import same_nodes
from expo_bench.grading.extraction import MAX_LENGTH
from expo_bench.grading.formulas import parse
from expo_bench.grading.measures import contradict, without_letter
from expo_bench.grading.numerals import base_of, spelled_out
from expo_bench.grading.rivals import HENDRYCKS, MATH_VERIFY, hendrycks_string, math_verify_plain
from expo_bench.grading.serving import serve
from expo_bench.grading.sizes import check_depth
from expo_bench.grading.structure import Node, formulas, read
from expo_bench.grading.tidying import readings, tidied, unwrapped
from expo_bench.grading.tolerances import without_tolerance

_BLANK = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
_DOTS = re.compile(r"\\(?:[lcv]?dots[a-z]?)(?![A-Za-z])|\.{3}")
_EQUALS = re.compile(r"=(?![^{}]*\})")
_DOTTED_DECIMAL = re.compile(r"-?\d*\.\d+(?:\\[lc]?dots|\.{3})(?:\s*\\?%)?")
_LOGARITHM = re.compile(r"\\(?:log|lg)(?![A-Za-z])(?!\s*_)")
_PERCENT = re.compile(r"\\?%")
_AND, _OR = re.compile(r"\\(?:land|wedge)(?![A-Za-z])"), re.compile(r"\\(?:lor|vee)(?![A-Za-z])")
_TO = re.compile(r"(?<=[\d}])\s*(?:\\(?:text|mathrm)\s*\{\s*to\s*\}|\bto\b)\s*(?=[\d\\])")
_MODULUS = re.compile(
    r"\s*,?\s*(?:\\pmod\s*(?:\{(?P<a>[^{}]*)\}|(?P<b>\w))|\(\s*(?:\\(?:text|mathrm"
    r"|operatorname)\s*\{\s*mod\s*\}|\\b?mod|mod)\s*\{?(?P<c>[^{}()]*)\}?\))\s*\Z"
)


def check_gold(gold: str) -> bool:
    """Return whether answers can be judged by this gold answer: it is words, holds dots, or parses and equals itself.

    Raises:
        TimeoutError: it is too large to be handled.
    """
    gold = _checked(without_tolerance(gold)[0])
    if words(gold) or (_DOTS.search(gold) and len(gold) > 4) or base_of(gold):
        return True
    text, _ = _without_modulus(tidied(gold))
    return any(map(_is_readable, map(read, readings(text))))


def _is_readable(node: Node) -> bool:
    return any(parse(part.text) for part in formulas(node) if part.text.strip()) and same_nodes(node, node)


def same(gold: str, answer: str) -> bool:
    """Return whether `answer` is `gold`, which comes first since its form decides what the answer may be.

    Raises:
        TimeoutError: one of them is too large to be handled.
    """
    gold, tolerances = without_tolerance(gold)
    return _same(_checked(gold), _checked(answer)) or bool(tolerances and _within(gold, answer, tolerances))


def _within(gold: str, answer: str, tolerances: Sequence[float]) -> bool:
    """Return whether each number of the answer is as near to the gold answer's as its tolerance allows."""
    left, right = _numbers(gold), _numbers(answer)
    if not left or len(left) != len(right) or contradict(gold, answer):
        return False
    if len(tolerances) != len(left):
        # one tolerance of all: which number is which does not count
        left, right, tolerances = sorted(left), sorted(right), [tolerances[0]] * len(left)
    near = zip(left, right, tolerances, strict=True)
    return all(abs(one - other) <= allowed * (1 + 1e-9) for one, other, allowed in near)


def _numbers(text: str) -> list[float]:
    """Return the numbers that an answer consists of, percents as they are written; none if a part is no number."""
    node = read(tidied(_checked(_PERCENT.sub("", text))))
    found = [parse(part.text) for part in formulas(node)]
    if any(one is None or not getattr(one.value, "is_number", False) or one.value.is_real is not True for one in found):
        return []
    return [float(one.value) for one in found if one is not None]


def _same(gold: str, answer: str) -> bool:
    if _bare(gold) == _bare(answer):
        return True
    said = same_words(gold, answer)
    if said is not None:
        return said
    if (based := _same_in_base(gold, answer)) is not None:
        return based
    if not _DOTS.search(gold):
        answer = _without_dotted(answer)
    if any(_DOTS.search(one) and not _DOTTED_DECIMAL.fullmatch(one.replace(" ", "")) for one in (gold, answer)):
        return False
    if _TO.search(gold) or ":" in gold:
        gold, answer = _TO.sub(":", gold), _TO.sub(":", answer)
    if contradict(gold, answer) or _other_logic(gold, answer):
        return False
    answer = without_letter(gold, answer)
    (left, modulus), (right, another) = _without_modulus(tidied(gold)), _without_modulus(tidied(answer))
    if modulus and another and _bare(modulus) != _bare(another):
        return False
    if _same_texts(left, right):
        return True
    logarithms = [bool(_LOGARITHM.search(text)) for text in (left, right)]
    return any(logarithms) and _same_texts(*(_LOGARITHM.sub(r"\\ln", text) for text in (left, right)))


def _other_logic(gold: str, answer: str) -> bool:
    r"""Return whether one says \land where the other says \lor."""
    said = [tuple(bool(sign.search(text)) for sign in (_AND, _OR)) for text in (gold, answer)]
    return (True, False) in said and (False, True) in said


def _without_dotted(answer: str) -> str:
    r"""Return a chain without its parts that hold dots, if it ends in one that has none: 1+2+\cdots+10 = 55."""
    parts = _EQUALS.split(answer)
    if len(parts) == 1 or _DOTS.search(parts[-1]):
        return answer
    return "=".join(part for part in parts if not _DOTS.search(part))


def _same_texts(gold: str, answer: str) -> bool:
    if _bare(gold) == _bare(answer) and gold:
        return True
    return any(same_nodes(read(one), read(other)) for one in readings(gold) for other in readings(answer))


def _same_in_base(gold: str, answer: str) -> bool | None:
    """Return whether two whole numbers have the same digits in the same base; None where no base is told."""
    left, right = base_of(gold), base_of(answer)
    if left is None or right is None or (left[1] is None and right[1] is None):
        return None
    return left[0] == right[0] and (None in (left[1], right[1]) or left[1] == right[1])


def _without_modulus(text: str) -> tuple[str, str | None]:
    found = _MODULUS.search(text)
    return (text, None) if found is None else (text[: found.start()], found["a"] or found["b"] or found["c"])


def _bare(text: str) -> str:
    """Return the text without white space, but for that between two digits: 1 2 is not 12."""
    return _BLANK.sub("", text)


def _checked(text: str) -> str:
    """Return the answer without its clothes, if it can be parsed in any sensible time."""
    if len(text) > MAX_LENGTH:
        raise TimeoutError("an answer with too many characters")
    check_depth(text)
    return spelled_out(unwrapped(text))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    serve({"gold": check_gold, "same": same, MATH_VERIFY: math_verify_plain, HENDRYCKS: hendrycks_string})
