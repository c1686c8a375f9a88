"""A formula as sympy's expression. The only file that imports the parser of math-verify, latex2sympy2-extended."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import NormalizationConfig, _Latex2Sympy, normalize_latex
from sympy.core.function import AppliedUndef

from expo_bench.grading.numerals import PLAIN, written_out
from expo_bench.grading.plain import as_parsed
from expo_bench.grading.sizes import MAX_BITS, bits
from expo_bench.grading.units import without_unit

_CONFIG = NormalizationConfig(basic_latex=True, units=False, malformed_operators=False, nits=False, boxed="none")
_PERCENT = re.compile(
    r"\s*(?:\\?%|\\(?:text|mathrm)\s*\{\s*(?:percent|per cent|\\?%|percentage points?)\s*\}|percent)\s*\Z"
)
_NO_FORMULA = re.compile(
    r"\\(?:text|mbox|textbf|textrm|textit|ldots|dots|cdots|vdots|dotsc|dotsb)(?![A-Za-z])|(?<=\d)'|\.\."
    r"|\\(?:mathrm|operatorname)\s*\{[A-Za-z ]{3,}\}|[?!]\s*[?]"
    r"|(?<![A-Za-z\\])(?:the|and|or|not|is|are|if|for|only|none|any|all|some|than|most|least|from"
    r"|with|squared|cubed)(?![A-Za-z])"
)
_PRIME = re.compile(r"(?<![A-Za-z\\])([A-Za-z])\s*(?:\^\s*\{?\s*)?((?:'|\\prime(?![A-Za-z])\s*)+)\}?")
_MARK = "'|prime"
_TRANSPOSED = re.compile(r"(?<![A-Za-z\\])([A-Za-z])\s*\^\s*\{?\s*(?:\\top|\\intercal|T)(?![A-Za-z])\s*\}?")
_INVERSE = re.compile(r"(?<![A-Za-z\\])([fgh])\s*\^\s*\{?\s*-\s*1\s*\}?\s*(?=\()")
_INDEXED = re.compile(r"_\s*\{?[^{}]*(?<![A-Za-z])i(?![A-Za-z])|\bi\s*=")
_ROW_END = re.compile(r"(?:\\\\\s*)+(?=\\end)")
_SETS = (r"\emptyset", r"\N", r"\Z", r"\Q", r"\R", r"\C")
_DIGITS = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a formula says."""

    value: Any
    """A sympy expression or matrix; decimals are exact fractions."""
    percent: bool = False
    places: int | None = None
    """Digits behind the point where the whole formula is one decimal number."""
    significant: int = 0
    """Its digits from the first that is not zero."""
    too_large: bool = False
    """Computing it would take too long; only its text can be compared."""


class _Reader(_Latex2Sympy):  # type: ignore[misc]
    """The parser, for which numbers side by side are a product: mixed numbers were written out as sums before."""

    def convert_postfix_list(self, arr: Any, i: int = 0) -> Any:
        """Return the product of what stands side by side."""
        if i >= len(arr):
            raise ValueError("nothing to multiply")
        factors = [self.convert_postfix(one) for one in arr[i:]]
        if any(not isinstance(one, (sympy.Expr, sympy.MatrixBase, sympy.MatrixExpr)) for one in factors):
            return super().convert_postfix_list(arr, i)
        product = factors.pop()
        while factors:
            factor = factors.pop()
            matrices = getattr(factor, "is_Matrix", False) or getattr(product, "is_Matrix", False)
            product = (self.mat_mul_flat if matrices else self.mul_flat)(factor, product)
        return product


@lru_cache(maxsize=4096)
def parse(text: str, natural: bool = False) -> Parsed | None:
    r"""Return what a formula says, None where it is no mathematics.

    Args:
        text: LaTeX, perhaps with a unit, a percent sign or a mixed number.
        natural: \log without a base is the natural one, not that of base 10.
    """
    text = _ROW_END.sub("", text.strip())
    percent = _PERCENT.search(text)
    text = text[: percent.start()] if percent else without_unit(text)
    text = text.removeprefix("+").strip().rstrip(",;")
    if PLAIN.fullmatch(text):
        return _plain(text.replace(" ", ""), bool(percent))
    text = _named(written_out(as_parsed(text)))
    if not text or _NO_FORMULA.search(text):
        return None
    if natural:
        text = re.sub(r"\\(?:log|lg)(?![A-Za-z])(?!\s*_)", r"\\ln", text)
    if text in _SETS or re.fullmatch(r"\\mathbb\s*\{?[A-Z]\}?(?:\^\{?[+*\d]\}?)?", text):
        return Parsed(sympy.Symbol(text))
    value = _read(text)
    if value is None:
        return None
    if bits(value) > MAX_BITS:
        return Parsed(value, bool(percent), too_large=True)
    return Parsed(_clean(value, text), bool(percent))


def _named(text: str) -> str:
    """Return the text with derivatives, transposes and inverse functions as names: the parser drops their marks."""
    text = _PRIME.sub(lambda found: f"{found[1]}_{{{'p' * len(re.findall(_MARK, found[2]))}}}", text)
    return _INVERSE.sub(r"\1_{q}", _TRANSPOSED.sub(r"\1_{t}", text))


def _plain(text: str, percent: bool) -> Parsed:
    _, point, after = text.partition(".")
    digits = "".join(_DIGITS.findall(text)).lstrip("0")
    return Parsed(
        sympy.Rational(text.rstrip(".") if after else text.strip(".")),
        percent,
        len(after) if point and after else None,
        len(digits),
    )


def _read(text: str) -> Any:
    """Return what the parser makes of the text, None where that is no expression or matrix."""
    reader = _Reader(None, None, r"\circ" in text)
    try:
        value = reader.parse(normalize_latex(text, config=_CONFIG))
    except RecursionError:
        raise TimeoutError("a formula nested too deep") from None
    except Exception:  # the parser's errors have no class of their own
        return None
    if isinstance(value, sympy.MatrixExpr):
        value = value.doit()
    if not isinstance(value, (sympy.Expr, sympy.MatrixBase)):
        return None
    return value


def _clean(value: Any, text: str) -> Any:
    """Return the expression with exact decimals, one symbol a name, the imaginary unit and Euler's number."""
    imaginary = not _INDEXED.search(text)
    known = {"e": sympy.E, **({"i": sympy.I} if imaginary else {})}
    change: dict[Any, Any] = {}
    for atom in value.atoms(sympy.Symbol):
        change[atom] = known.get(atom.name, sympy.Symbol(atom.name))
    for atom in value.atoms(AppliedUndef, sympy.Derivative):
        change[atom] = sympy.Symbol(str(atom))
    for atom in value.atoms(sympy.UnevaluatedExpr):
        change[atom] = atom.args[0]
    for atom in value.atoms(sympy.Float):
        change[atom] = sympy.Rational(str(atom))
    if any(old != new for old, new in change.items()):
        value = value.xreplace(change)
    return _real_roots(value) if value.has(sympy.Pow) else value


def _real_roots(value: Any) -> Any:
    """Return the expression with the real root where an odd one is drawn from a negative number."""
    return value.replace(
        lambda part: (
            isinstance(part, sympy.Pow)
            and part.exp.is_Rational
            and part.exp.q % 2 == 1
            and part.exp.q > 1
            and part.base.is_number
            and bool(part.base.is_negative)
        ),
        lambda part: (-1) ** part.exp.p * (-part.base) ** part.exp,
    )
