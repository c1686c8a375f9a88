"""LaTeX in a text as MathML, which browsers draw; what cannot be drawn, or would cost too much, stays text.

The bound counts characters, not seconds, so that the same run gives the same page on any machine: a formula has at most
MOST_CHARACTERS and MOST_NESTING, macros cannot be defined, and a page has a budget for all of its formulas.
"""

import re
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from html import unescape
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from expo_bench.reports.text import visible

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_CHARACTERS = 1000
MOST_NESTING = 24
_MOST_BYTES = 40_000
PAGE_BYTES = 1_200_000
WORKBENCH_BYTES = 4_000_000
PAGE_CHARACTERS = 60_000

_OPENING = re.compile(
    r"\\\$|\$\$?|\\\[|\\\(|\\boxed\{|\\begin\{(?:align|equation|gather|aligned|cases|array|[pbvBV]?matrix)\*?\}"
)
_BRACE = re.compile(r"[{}]")
_CLOSING = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_DEFINES = re.compile(r"\\(?:def|newcommand|renewcommand|newenvironment|DeclareMathOperator|href|require)\b")
# of MathML Core; neither links nor styles nor scripts are among them
_TAGS = frozenset((
    "math", "mrow", "mi", "mn", "mo", "mtext", "ms", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup",
    "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd", "mpadded", "mphantom", "mstyle",
    "menclose", "mmultiscripts", "mprescripts", "none", "mfenced",
))  # fmt: skip
_ATTRIBUTES = frozenset((
    "display", "mathvariant", "stretchy", "fence", "form", "separator", "lspace", "rspace", "minsize",
    "maxsize", "symmetric", "movablelimits", "largeop", "accent", "accentunder", "linethickness", "columnalign",
    "columnlines", "rowlines", "rowspacing", "columnspacing", "width", "height", "depth", "voffset",
    "displaystyle", "scriptlevel", "notation", "open", "close", "separators",
))  # fmt: skip
_COMMAND = re.compile(r"\\[a-zA-Z]+\s*(?:\{[^{}]{0,200}\})?")
_PROSE = re.compile(r"[A-Za-z]{3,}\s+[A-Za-z]{2,}")
_VALUE = re.compile(r"[\w .,+%()\[\]{}|⟨⟩‖/-]{0,40}")


class Budget:
    """What the formulas of one page may still cost."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.characters = PAGE_CHARACTERS


budget: ContextVar[Budget | None] = ContextVar("budget", default=None)
"""Of the page that is rendered."""


def with_formulas(text: str) -> "Markup":
    """Return the text escaped, its formulas as MathML with the LaTeX beside each, which the page shows instead."""
    from markupsafe import Markup, escape

    left = budget.get() or Budget(PAGE_BYTES)
    parts = []
    for part, latex, block in _split(text):
        drawn = None
        if latex and len(latex) <= left.characters:
            left.characters -= len(latex)
            drawn = to_mathml(latex, block=block)
        if drawn is None or len(drawn) > left.size:
            parts.append(escape(visible(part)))
            continue
        left.size -= len(drawn)
        parts.append(
            Markup('<span class="formula">%s<span class="tex">%s</span></span>') % (Markup(drawn), visible(part))
        )
    return Markup("").join(parts)


@lru_cache(maxsize=4096)
def to_mathml(latex: str, *, block: bool = False) -> str | None:
    """Return a formula as MathML; None where it cannot be drawn, or is too long or too deep."""
    if len(latex) > MOST_CHARACTERS or _nesting(latex) > MOST_NESTING or _DEFINES.search(latex):
        return None
    try:
        from latex2mathml.converter import convert_to_element
    except ImportError:
        return None
    try:
        element = convert_to_element(visible(latex), display="block" if block else "inline")
    except Exception:  # what a parser of foreign text may raise is not listed anywhere
        return None
    if not _cleaned(element):
        return None
    drawn = ElementTree.tostring(element, encoding="unicode")
    return drawn if len(drawn) <= _MOST_BYTES else None


def _nesting(latex: str) -> int:
    # an environment, a \left and a script open a level as a brace does
    return max(_depths(latex), latex.count("\\begin"), latex.count("\\left")) + latex.count("^^")


def _depths(latex: str) -> int:
    depth = most = 0
    for letter in latex:
        depth += (letter == "{") - (letter == "}")
        most = max(most, depth)
    return most


def _cleaned(element: ElementTree.Element) -> bool:
    """Drop attributes that are not known to be harmless; tell whether all elements are."""
    for one in element.iter():
        if one.tag not in _TAGS:
            return False
        for name in list(one.attrib):
            if name not in _ATTRIBUTES or not _VALUE.fullmatch(one.attrib[name]):
                del one.attrib[name]
        # the library leaves references as text, and a text is escaped
        one.text = visible(unescape(one.text)) if one.text else None
        one.tail = None
    return True


def _split(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the text in parts: each as it stands, its LaTeX where it is a formula, and whether that stands alone."""
    done = at = 0
    while found := _OPENING.search(text, at):
        start, opening = found.start(), found[0]
        end, latex, block = _formula(text, start, opening)
        if not latex:
            at = found.end()
            continue
        if start > done:
            yield text[done:start], "", False
        yield text[start:end], latex, block
        done = at = end
    if done < len(text):
        yield text[done:], "", False


def _formula(text: str, start: int, opening: str) -> tuple[int, str, bool]:
    """Return where the formula ends that begins here, and its LaTeX; no LaTeX where none begins."""
    inside = start + len(opening)
    limit = inside + MOST_CHARACTERS
    if opening == "\\$":
        return inside, "", False
    if opening == "\\boxed{":
        end = _brace(text, inside, min(limit, len(text)))
        return end, text[start:end] if end else "", False
    if opening.startswith("\\begin"):
        closing = "\\end" + opening[len("\\begin") :]
        end = text.find(closing, inside, limit)
        return end + len(closing), text[start : end + len(closing)] if end >= 0 else "", True
    if opening == "$":
        end = _dollar(text, inside, limit)
        return end + 1, text[inside:end] if end >= 0 else "", False
    closing = _CLOSING[opening]
    end = text.find(closing, inside, limit)
    latex = text[inside:end].strip() if end >= 0 else ""
    return end + len(closing), latex, opening != "\\("


def _dollar(text: str, inside: int, limit: int) -> int:
    """Return the dollar sign that ends a formula; -1 where the first is an amount of money."""
    if text[inside : inside + 1].isspace():
        return -1
    end = inside
    while (end := text.find("$", end, limit)) >= 0 and text[end - 1] == "\\":
        end += 1
    if end < 0 or text[end - 1].isspace() or text[end + 1 : end + 2].isdigit():
        return -1
    between = text[inside:end]
    prose = "\n\n" in between or "\\(" in between or _PROSE.search(_COMMAND.sub(" ", between))
    return -1 if prose else end


def _brace(text: str, inside: int, limit: int) -> int:
    depth = 1
    for found in _BRACE.finditer(text, inside, limit):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return found.end()
        if depth > MOST_NESTING:
            break
    return 0
