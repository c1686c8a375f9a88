"""What an equation or a chain of relations states: a name and its value, or a condition."""

import re
from itertools import combinations
from typing import TypeGuard

import sympy

from expo_bench.grading import numbers
from expo_bench.grading.formulas import Parsed, parse
from expo_bench.grading.structure import Formula, Group, Node, Relation

_NEARLY = (r"\approx", r"\sim", r"\simeq", r"\cong")
_MIRRORED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_FUNCTION = r"(?P<function>\\?[A-Za-z]+(?:_\{?\w+\}?)?'{0,3}|[A-Za-z]\s*\^\s*\{?(?:-1|\(\d\))\}?)\s*"
_CALL = re.compile(_FUNCTION + r"\((?P<argument>[A-Za-z])\)")
_CALL_AT = re.compile(_FUNCTION + r"\(-?\d+\)")
_LETTER = re.compile(
    r"(?:[A-Za-z]|\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|omega|rho|sigma))(?:_\s*\{?\w+\}?)?'?"
)


def is_equation(node: Node) -> TypeGuard[Relation]:
    """Return whether a node is an equation or a chain of them."""
    return isinstance(node, Relation) and set(node.signs) == {"="}


def is_inequality(node: Node) -> TypeGuard[Relation]:
    """Return whether a node is a single inequality."""
    return isinstance(node, Relation) and len(node.signs) == 1 and node.signs[0] in _MIRRORED


def settled(node: Node) -> Node:
    r"""Return a node without what only explains it: a rounded value behind \approx, what is before \equiv."""
    if not isinstance(node, Relation):
        return node
    near = next((at for at, sign in enumerate(node.signs) if sign in _NEARLY), None)
    if near is not None and not _far_apart(node.parts[near], node.parts[near + 1]):
        before = node.parts[: near + 1]
        exact = _kept(node.signs[:near], before)
        only_name = len(before) == 1 and _is_name(before[0])
        return settled(_kept(node.signs[near + 1 :], node.parts[near + 1 :]) if only_name else exact)
    if r"\equiv" in node.signs and set(node.signs) <= {r"\equiv", "="}:
        return node.parts[-1]
    if (
        node.signs[0] == r"\in"
        and len(node.signs) == 1
        and isinstance(node.parts[1], Group)
        and node.parts[1].left == r"\{"
    ):
        return node.parts[1]
    return node


def _far_apart(one: Node, other: Node) -> bool:
    r"""Return whether two numbers are further apart than any rounding: 2/3 \approx 10.67 says nothing."""
    values = [parse(node.text) if isinstance(node, Formula) else None for node in (one, other)]
    if any(value is None or not isinstance(value.value, sympy.Expr) or value.value.free_symbols for value in values):
        return False
    left, right = (numbers.at(value.value, {}, 15) for value in values if value)
    return left is not None and right is not None and bool(abs(left - right) > abs(left) / 10)


def stated_value(node: Relation) -> Node | None:
    """Return the value that a chain of equations comes to, None where its numbers contradict each other."""
    values = [parse(part.text) if isinstance(part, Formula) else None for part in node.parts]
    constants = [one for one in values if one and isinstance(one.value, sympy.Expr) and not one.value.free_symbols]
    if not all(numbers.equal(one, other) for one, other in combinations(constants[:8], 2)):
        return None
    first, last = node.parts[0], node.parts[-1]
    return first if len(node.parts) == 2 and _is_letter(last) and not _is_letter(first) else last


def stated(node: Relation) -> bool:
    """Return whether an equation says what something is: y = 2x + 3, f(x) = 1/x, AB + BC = 7, but not 2x + 5y = 4."""
    first, last = node.parts[0], node.parts[-1]
    if _is_name(first) or (_is_letter(last) and len(node.parts) == 2):
        return True
    if not isinstance(first, Formula) or not isinstance(last, Formula):
        return not isinstance(first, Formula)
    left, right = parse(first.text), parse(last.text)
    if left is None or (isinstance(left.value, sympy.Expr) and not left.value.free_symbols):
        return True
    names_only = not re.search(r"\d", first.text)
    return names_only and right is not None and isinstance(right.value, sympy.Expr) and not right.value.free_symbols


def name_of(node: Relation) -> str | None:
    """Return the variable, or function with its argument, that an equation is about; None where that is else."""
    for part in (node.parts[0], node.parts[-1]):
        if isinstance(part, Formula):
            text = part.text.replace(" ", "")
            if _LETTER.fullmatch(text) or _CALL.fullmatch(text):
                return text
    return None


def renamed(value: Node, name: str, wanted: str) -> Node | None:
    """Return the value of f(t) as that of f(x), and of y as that of f(x); None where the names say different things."""
    old, new = _CALL.fullmatch(name), _CALL.fullmatch(wanted)
    if old is None or new is None:
        return value if (old or new) and not (_LETTER.fullmatch(name) and _LETTER.fullmatch(wanted)) else None
    if old["function"] != new["function"] or not isinstance(value, Formula):
        return None
    letter = re.compile(rf"(?<![A-Za-z\\]){old['argument']}(?![A-Za-z])")
    return Formula(letter.sub(new["argument"], value.text))


def proportional(gold: Relation, answer: Relation) -> bool:
    """Return whether two equations or inequalities are the same condition: one is the other, times a number."""
    if len(gold.signs) != 1 or len(answer.signs) != 1:
        return False
    left, right = _difference(gold), _difference(answer)
    if left is None or right is None or left.free_symbols != right.free_symbols or not left.free_symbols:
        return False
    if gold.signs != ("=",):
        if answer.signs[0] == _MIRRORED[gold.signs[0]]:
            right = -right
        elif answer.signs != gold.signs:
            return False
    if _ratio_is_constant(left, right, positive=gold.signs != ("=",)):
        return True
    if gold.signs != ("=",):
        return False
    tops = [sympy.fraction(sympy.together(side))[0] for side in (left, right)]
    return _ratio_is_constant(*tops, positive=False)


def _ratio_is_constant(left: sympy.Expr, right: sympy.Expr, *, positive: bool) -> bool:
    ratios = []
    for point in numbers.points(left, right):
        one, other = numbers.at(left, point, 40), numbers.at(right, point, 40)
        if one is None or other is None or not one.is_real or not other.is_real:
            continue
        if one == 0 or other == 0:
            if one != other:
                return False
            continue
        ratios.append(one / other)
    if len(ratios) < 3 or (positive and ratios[0] < 0):
        return False
    return all(abs(ratio - ratios[0]) <= abs(ratios[0]) * sympy.Rational(1, 10**20) for ratio in ratios)


def _difference(node: Relation) -> sympy.Expr | None:
    sides: list[Parsed | None] = [parse(part.text) if isinstance(part, Formula) else None for part in node.parts]
    if any(side is None or not isinstance(side.value, sympy.Expr) for side in sides):
        return None
    return sides[0].value - sides[1].value  # type: ignore[union-attr]


def _kept(signs: tuple[str, ...], parts: tuple[Node, ...]) -> Node:
    return Relation(signs, parts) if signs else parts[0]


def _is_letter(node: Node) -> bool:
    return isinstance(node, Formula) and _LETTER.fullmatch(node.text.replace(" ", "")) is not None


def _is_name(node: Node) -> bool:
    """Return whether a node is nothing, a letter, a function's name with its argument, or words."""
    if not isinstance(node, Formula):
        return False
    text = node.text.strip()
    return (
        not text or _is_letter(node) or bool(_CALL.fullmatch(text) or _CALL_AT.fullmatch(text)) or parse(text) is None
    )
