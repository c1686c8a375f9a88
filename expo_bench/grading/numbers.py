"""Whether two formulas have the same value: numbers exactly, decimals by their digits, others at chosen points."""

import itertools
from functools import lru_cache
from typing import Any

import sympy

from expo_bench.grading.formulas import Parsed
from expo_bench.grading.sizes import bits

SIGNIFICANT = 6
"""Digits from which on a rounded decimal stands for an exact value."""
_FLOATING = 15
"""Digits of a decimal that a program printed: its last ones may be noise."""
_DIGITS = 30
_MOST_DIGITS = 4000
_ROUNDS_UP = sympy.Rational(500001, 1000000)
_INTEGER_FUNCTIONS = (
    sympy.floor, sympy.ceiling, sympy.factorial, sympy.binomial, sympy.Mod, sympy.Sum, sympy.Product, sympy.gcd,
)  # fmt: skip
_POINTS = tuple(map(sympy.Rational, ("17/13", "-7/5", "29/11", "-41/19", "3/7", "53/10", "-2/9", "101/17")))
_WHOLE_POINTS = tuple(map(sympy.Integer, (5, 8, 3, 12, 7, 10, 4, 9)))
_MOST_SYMBOLS = 12
_ENOUGH = 3


def equal(gold: Parsed, answer: Parsed) -> bool:
    """Return whether two formulas have the same value. A percentage is its hundredth and also its number."""
    if gold.percent == answer.percent:
        return _equal(gold, answer)
    if gold.percent:
        return _equal(gold, answer) or _equal(_hundredth(gold), answer)
    return _equal(gold, answer) or _equal(gold, _hundredth(answer))


def _hundredth(one: Parsed) -> Parsed:
    places = None if one.places is None else one.places + 2
    return Parsed(one.value / 100, False, places, one.significant)


def _equal(gold: Parsed, answer: Parsed) -> bool:
    left, right = gold.value, answer.value
    if gold.too_large or answer.too_large:
        if left == right:
            return True
        raise TimeoutError("a number with too many digits")
    if isinstance(left, sympy.MatrixBase) or isinstance(right, sympy.MatrixBase):
        return _equal_matrices(left, right)
    if left == right:
        return not left.has(sympy.zoo, sympy.nan)
    if left.free_symbols or right.free_symbols:
        return _equal_functions(left, right)
    if gold.places is not None and _rounds_to(gold, right):
        return True
    if answer.places is not None and _rounds_to(answer, left):
        return True
    return equal_numbers(left, right)


def _equal_matrices(left: Any, right: Any) -> bool:
    if not isinstance(left, sympy.MatrixBase) or not isinstance(right, sympy.MatrixBase) or left.shape != right.shape:
        return False
    pairs = zip(left.flat(), right.flat(), strict=True)
    return all(_equal(Parsed(one), Parsed(other)) for one, other in pairs)


def _rounds_to(decimal: Parsed, exact: Any) -> bool:
    """Return whether a decimal of six or more significant digits is this value, rounded to its places."""
    assert decimal.places is not None
    if decimal.significant < SIGNIFICANT or exact.is_Integer:
        return False
    value = _evaluate(exact, _DIGITS + decimal.places)
    if value is None or not value.is_real:
        return False
    allowed = _ROUNDS_UP / 10**decimal.places
    if decimal.significant >= _FLOATING:
        allowed = max(allowed, abs(decimal.value) / 10 ** (_FLOATING - 1))
    return bool(abs(value - decimal.value) <= allowed)


def equal_numbers(left: Any, right: Any) -> bool:
    """Return whether two numbers are the same, however small their difference is."""
    size = bits(left) + bits(right)
    one, other = _evaluate(left, _DIGITS), _evaluate(right, _DIGITS)
    if one is not None and other is not None and not _close(one, other, _DIGITS - 8):
        return False
    exact = [_rational(side) for side in (left, right)]
    if (one is None or other is None) and None in exact:
        return _infinite(left, right)
    if None not in exact:
        return bool(exact[0] == exact[1])
    digits = int(min(_MOST_DIGITS, 2 * _DIGITS + 0.302 * size))
    one, other = _evaluate(left, digits), _evaluate(right, digits)
    return one is not None and other is not None and _close(one, other, digits - 10)


def _infinite(left: Any, right: Any) -> bool:
    values = [side.doit() if side.has(sympy.oo) else side for side in (left, right)]
    return values[0] == values[1] and not values[0].has(sympy.nan, sympy.zoo)


@lru_cache(maxsize=2048)
def _rational(value: Any) -> Any:
    """Return a number as a fraction where it is one, else None."""
    if value.is_Rational:
        return value
    if value.has(sympy.pi, sympy.E, sympy.I, sympy.sin, sympy.cos, sympy.tan, sympy.log):
        return None
    found = value.doit()
    return found if found.is_Rational else None


@lru_cache(maxsize=4096)
def _evaluate(value: Any, digits: int) -> Any:
    """Return a number with so many digits, None where it has no finite value; what is nothing but noise is 0."""
    if value.is_Rational and max(abs(value.p), value.q).bit_length() < 100 * digits:
        return value
    try:
        found = value.evalf(digits)
        real, imaginary = found.as_real_imag()
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    if not all(part.is_Number and part.is_finite for part in (real, imaginary)):  # infinity has the precision of noise
        return None
    parts = [sympy.Integer(0) if getattr(part, "_prec", 2) <= 1 else part for part in (real, imaginary)]
    return parts[0] if parts[1] == 0 else parts[0] + sympy.I * parts[1]


def _close(one: Any, other: Any, digits: int) -> bool:
    """Return whether two values agree in so many digits."""
    scale = max(_size(one), _size(other))
    return scale == 0 or bool(_size(one - other) <= scale / sympy.Integer(10) ** digits)


def _size(value: Any) -> Any:
    real, imaginary = value.as_real_imag()
    return max(abs(real), abs(imaginary))


def points(*expressions: Any) -> list[dict[Any, Any]]:
    """Return values of all symbols, at which expressions are compared; whole numbers for floors and the like."""
    symbols = sorted(set().union(*(one.free_symbols for one in expressions)), key=str)
    if len(symbols) > _MOST_SYMBOLS:
        return []
    whole = _spread(symbols, _WHOLE_POINTS) if any(one.has(*_INTEGER_FUNCTIONS) for one in expressions) else []
    if whole and not _idle(expressions, whole):
        return whole
    return whole + _spread(symbols, _POINTS)


def _spread(symbols: list[Any], values: tuple[Any, ...]) -> list[dict[Any, Any]]:
    shifted = [[values[(at + 3 * place) % len(values)] for place in range(len(symbols))] for at in range(len(values))]
    spread = [
        [value + place * (1 if value.is_Integer else sympy.Rational(1, 23)) for place, value in enumerate(one)]
        for one in shifted
    ]
    return [dict(zip(symbols, one, strict=True)) for one in spread]


def _idle(expressions: tuple[Any, ...], whole: list[dict[Any, Any]]) -> bool:
    """Return whether nothing asks for whole numbers but floors that do nothing there: others are wanted too."""
    asking = set().union(*(one.atoms(*_INTEGER_FUNCTIONS) for one in expressions))
    return all(
        isinstance(one, (sympy.floor, sympy.ceiling)) and all(one.args[0].subs(point).is_integer for point in whole)
        for one in asking
    )


def at(expression: Any, point: dict[Any, Any], digits: int) -> Any:
    """Return the value of an expression at a point, None where it has none."""
    try:
        found = expression.subs(point)
        if found.has(sympy.Sum, sympy.Product):
            found = found.doit()
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    return _evaluate(found, digits) if not found.free_symbols else None


def _equal_functions(left: Any, right: Any) -> bool:
    """Return whether two expressions agree wherever both are real; without such points, wherever they have values."""
    digits = int(min(_MOST_DIGITS, _DIGITS + 0.302 * (_constants(left) + _constants(right))))
    real = left.has(sympy.I) or right.has(sympy.I)
    agreed = complex_agreed = 0
    for point in points(left, right):
        one, other = at(left, point, digits), at(right, point, digits)
        if one is None or other is None:
            continue
        same = _close(one, other, digits - 12)
        if real or (one.is_real and other.is_real):
            if not same:
                return False
            agreed += 1
        elif same:
            complex_agreed += 1
    if agreed + complex_agreed >= _ENOUGH and (agreed or complex_agreed == agreed + complex_agreed):
        return True
    return agreed + complex_agreed > 0 and _simplifies(left, right)


def _constants(expression: Any) -> float:
    """Return the size of the largest number in an expression."""
    sizes = (
        bits(part)
        for part in itertools.islice(sympy.preorder_traversal(expression), 200)
        if not part.free_symbols and isinstance(part, sympy.Expr)
    )
    return max(sizes, default=0.0)


def _simplifies(left: Any, right: Any) -> bool:
    return bool(sympy.simplify(left - right) == 0)
