"""How much a formula would cost to compute: what is too large is not begun."""

import math
from typing import Any

import sympy

MAX_DEPTH = 15
"""Brackets within brackets: the parser's time doubles with each few of them; the gold answers need 5."""
MAX_BITS = 1_000_000
"""Size of a number that is still computed, about 300,000 decimal digits."""
MAX_TERMS = 100_000
"""Terms of a sum or product that are still computed."""


def check_depth(text: str) -> None:
    """Raise TimeoutError for an answer with brackets nested too deep."""
    depth = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if depth > MAX_DEPTH:
            raise TimeoutError("brackets nested too deep")


def bits(expression: Any) -> float:
    """Return about how many bits the largest number has that evaluating `expression` would compute."""
    if isinstance(expression, sympy.Rational):
        return float(max(abs(expression.p), expression.q).bit_length())
    if isinstance(expression, sympy.factorial):
        largest = _magnitude(expression.args[0])
        return max(bits(expression.args[0]), largest * math.log2(largest + 2))
    if isinstance(expression, (sympy.Pow, sympy.exp)):
        base, exponent = expression.as_base_exp()
        inner = max(bits(base), bits(exponent))
        return inner if base.free_symbols or base in (1, -1) else max(inner, bits(base) * _magnitude(exponent))
    if isinstance(expression, (sympy.Sum, sympy.Product)) and any(
        _magnitude(bound) > MAX_TERMS for limit in expression.limits for bound in limit[1:] if bound.is_number
    ):
        return math.inf
    sizes = [bits(part) for part in getattr(expression, "args", ())]
    return sum(sizes) if isinstance(expression, sympy.Mul) else max(sizes, default=2.0)


def _magnitude(expression: Any) -> float:
    if isinstance(expression, sympy.Integer):
        return abs(float(expression)) if expression.p.bit_length() < 1000 else math.inf
    size = 0.0 if getattr(expression, "free_symbols", None) else bits(expression)
    return 2.0**size if size < 1000 else math.inf
