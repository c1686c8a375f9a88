"""Sets of real numbers: intervals, unions of them, and inequalities that are solved."""

from dataclasses import dataclass, replace
from typing import Any

import sympy

from expo_bench.grading import numbers
from expo_bench.grading.formulas import Parsed, parse
from expo_bench.grading.structure import Combination, Formula, Group, Node, Relation

_LESS = {"<": True, r"\le": False}
_MORE = {">": True, r"\ge": False}
_REALS = (r"\mathbb{R}", r"\mathbf{R}", r"\Re", r"\mathbb R", r"\R")


@dataclass(frozen=True, slots=True)
class Span:
    """An interval; a point has equal ends that are closed."""

    low: Any
    high: Any
    low_open: bool = True
    high_open: bool = True


@dataclass(frozen=True, slots=True)
class Region:
    """Intervals in the order in which they are written, and the variable whose values they are, if it is told."""

    spans: tuple[Span, ...]
    variable: str | None = None


def region(node: Node) -> Region | None:
    """Return the set of real numbers that a node says, None where it says none, or is an inequality to be solved."""
    if isinstance(node, Group):
        return _group(node)
    if isinstance(node, Combination):
        return _combination(node)
    if isinstance(node, Relation):
        return _relation(node)
    return Region((Span(-sympy.oo, sympy.oo),)) if is_reals(node) else None


def is_reals(node: Node) -> bool:
    """Return whether a node is the set of all real numbers."""
    return isinstance(node, Formula) and node.text.strip() in _REALS


def same_region(gold: Region, answer: Region) -> bool:
    """Return whether two sets are the same; their variables must be, where both are told."""
    if gold.variable and answer.variable and gold.variable != answer.variable:
        return False
    if len(gold.spans) == len(answer.spans) and all(map(_same_span, _sorted(gold), _sorted(answer))):
        return True
    left, right = _as_set(gold), _as_set(answer)
    return (
        left is not None
        and right is not None
        and bool(left == right or left.symmetric_difference(right) == sympy.S.EmptySet)
    )


def _group(node: Group) -> Region | None:
    if node.left in ("(", "[") and node.right in (")", "]") and len(node.parts) == 2:
        low, high = map(_bound, node.parts)
        return None if low is None or high is None else Region((Span(low, high, node.left == "(", node.right == ")"),))
    if node.left == r"\{":
        values = [_bound(part) for part in node.parts]
        return None if None in values or not values else Region(tuple(Span(one, one, False, False) for one in values))
    if node.left in (r"\lor", ","):
        found = [
            region(part) for part in node.parts if isinstance(part, (Relation, Combination)) or node.left == r"\lor"
        ]
        if len(found) != len(node.parts) or None in found:
            return None
        variables = {one.variable for one in found if one}
        if len(variables) != 1:
            return None
        regions = [one for one in found if one]
        return _joined(regions) if node.left == r"\lor" else _both(regions)
    return None


def _both(regions: list[Region]) -> Region | None:
    """Return what "x > 1, x < 5" leaves; two that exclude each other ("x < 1, x > 6") are meant as a union."""
    if len(regions) != 2 or any(len(one.spans) != 1 for one in regions):
        return None
    first, second = (one.spans[0] for one in regions)
    if first.low == -sympy.oo:
        first, second = second, first
    if first.high != sympy.oo or second.low != -sympy.oo or first.low == -sympy.oo:
        return None
    gap = numbers.equal_numbers(first.low, second.high) if not (first.low - second.high).free_symbols else None
    if gap is None:
        return None
    if gap or bool(first.low > second.high):
        return _joined(regions)
    return Region((Span(first.low, second.high, first.low_open, second.high_open),), regions[0].variable)


def _joined(regions: list[Region]) -> Region:
    return Region(tuple(span for one in regions for span in one.spans), regions[0].variable)


def _combination(node: Combination) -> Region | None:
    parts = [region(part) for part in node.parts]
    if None in parts:
        return None
    regions = [one for one in parts if one]
    if set(node.signs) == {r"\cup"}:
        return _joined(regions)
    result = _as_set(regions[0])
    for sign, part in zip(node.signs, regions[1:], strict=True):
        other = _as_set(part)
        if result is None or other is None:
            return None
        operation = {r"\cup": sympy.Union, r"\cap": sympy.Intersection}.get(sign, sympy.Complement)
        result = operation(result, other)
    spans = _spans(result)
    return None if spans is None else Region(spans)


def _relation(node: Relation) -> Region | None:
    if node.signs == (r"\in",):
        inside = region(node.parts[1])
        name = _name(node.parts[0])
        return (inside and name is not None and replace(inside, variable=name or inside.variable)) or None
    if (size := _absolute(node)) is not None:
        return size
    places = [at for at, part in enumerate(node.parts) if _name(part) is not None]
    if len(places) != 1 or len(node.parts) > 3:
        return None
    variable = _name(node.parts[places[0]])
    bounds = [_bound(part) if at != places[0] else None for at, part in enumerate(node.parts)]
    if sum(bound is not None for bound in bounds) != len(node.parts) - 1:
        return None
    if len(node.parts) == 2:
        return _half(node.signs[0], bounds, places[0], variable)
    return _between(node.signs, bounds, places[0], variable)


def _absolute(node: Relation) -> Region | None:
    """Return what |x| < 1 or |x| > 1 says; None for anything else."""
    if len(node.parts) != 2:
        return None
    parsed = [parse(part.text) if isinstance(part, Formula) else None for part in node.parts]
    sizes = [one is not None and isinstance(one.value, sympy.Abs) and one.value.args[0].is_Symbol for one in parsed]
    bound = _bound(node.parts[1 - sizes.index(True)]) if True in sizes else None
    if bound is None or not bound.is_positive or node.signs[0] not in _LESS | _MORE:
        return None
    place = sizes.index(True)
    strict = (_LESS | _MORE)[node.signs[0]]
    parsed_size = parsed[place]
    assert parsed_size is not None
    variable = str(parsed_size.value.args[0])
    if (node.signs[0] in _LESS) == (place == 0):
        return Region((Span(-bound, bound, strict, strict),), variable)
    return Region((Span(-sympy.oo, -bound, True, strict), Span(bound, sympy.oo, strict, True)), variable)


def _half(sign: str, bounds: list[Any], place: int, variable: str | None) -> Region | None:
    value = bounds[1 - place]
    if sign == r"\ne":
        return Region((Span(-sympy.oo, value), Span(value, sympy.oo)), variable)
    below = sign in _LESS if place == 0 else sign in _MORE
    above = sign in _MORE if place == 0 else sign in _LESS
    strict = (_LESS | _MORE).get(sign, True)
    if below:
        return Region((Span(-sympy.oo, value, True, strict),), variable)
    return Region((Span(value, sympy.oo, strict, True),), variable) if above else None


def _between(signs: tuple[str, ...], bounds: list[Any], place: int, variable: str | None) -> Region | None:
    if place != 1:
        return None
    if all(sign in _LESS for sign in signs):
        return Region((Span(bounds[0], bounds[2], _LESS[signs[0]], _LESS[signs[1]]),), variable)
    if all(sign in _MORE for sign in signs):
        return Region((Span(bounds[2], bounds[0], _MORE[signs[1]], _MORE[signs[0]]),), variable)
    return None


def _name(node: Node) -> str | None:
    """Return the variable, "" where nothing stands before a sign, None where it is something else."""
    if not isinstance(node, Formula):
        return None
    if not node.text.strip():
        return ""
    parsed = parse(node.text)
    symbol = isinstance(getattr(parsed, "value", None), sympy.Symbol)
    return str(parsed.value) if parsed and symbol else (node.text.strip() if _called(node.text) else None)


def _called(text: str) -> bool:
    """Return whether a text is a function's name with its argument, such as f(x)."""
    text = text.strip()
    return len(text) > 3 and text[0].isalpha() and text[1] == "(" and text.endswith(")") and text[2:-1].isalnum()


def _bound(node: Node) -> Any:
    parsed: Parsed | None = parse(node.text) if isinstance(node, Formula) else None
    if parsed is None or not isinstance(parsed.value, sympy.Expr):
        return None
    return parsed.value / 100 if parsed.percent else parsed.value


def _same_span(one: Span, other: Span) -> bool:
    return (
        one.low_open == other.low_open
        and one.high_open == other.high_open
        and numbers.equal(Parsed(one.low), Parsed(other.low))
        and numbers.equal(Parsed(one.high), Parsed(other.high))
    )


def _sorted(one: Region) -> list[Span]:
    def key(span: Span) -> tuple[float, float]:
        try:
            return float(span.low), float(span.high)
        except (TypeError, OverflowError):
            return (0.0, 0.0)

    return sorted(one.spans, key=key)


def _as_set(one: Region) -> Any:
    if any(end.free_symbols or end.has(sympy.I) for span in one.spans for end in (span.low, span.high)):
        return None
    try:
        return sympy.Union(
            *(sympy.Interval(sympy.simplify(s.low), sympy.simplify(s.high), s.low_open, s.high_open) for s in one.spans)
        )
    except (TypeError, ValueError, NotImplementedError):
        return None


def _spans(found: Any) -> tuple[Span, ...] | None:
    if isinstance(found, sympy.Interval):
        return (Span(found.start, found.end, bool(found.left_open), bool(found.right_open)),)
    if isinstance(found, sympy.FiniteSet):
        return tuple(Span(one, one, False, False) for one in found.args)
    if isinstance(found, sympy.Union):
        parts = [_spans(part) for part in found.args]
        return None if None in parts else tuple(span for part in parts if part for span in part)
    return None
