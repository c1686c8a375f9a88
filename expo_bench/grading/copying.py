r"""Whether an answer was copied from the problem: a formula that stands there, and is not the gold answer's own text.

A problem is searched as one text without white space, `$` and sizes of brackets. A copy begins and ends where a formula
may: at the ends of a formula or of a word, at a sign of relation, at a comma.
"""

import re
from functools import lru_cache

_IGNORED = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|limits|[Bb]igg?[lrm]?)(?![A-Za-z])|\\[,;:!> ]|\\q?quad(?![A-Za-z])|[{}~\s]"
)
_SAME = tuple(
    (re.compile(rf"\\(?:{names})(?![A-Za-z])"), same)
    for names, same in (
        ("[dtc]frac", r"\\frac"), ("[dt]binom", r"\\binom"), ("leq", r"\\le"), ("geq", r"\\ge"), ("neq", r"\\ne"),
        ("cdot|times", "*"), ("c?dots", r"\\ldots"),
    )
)  # fmt: skip
_FRACTION = re.compile(r"\\frac\s*(?:\{(\d+)\}\s*\{(\d+)\}|(\d)\s*(\d))")
_MATHS = re.compile(r"(\$\$?.*?\$\$?|\\\(.*?\\\)|\\\[.*?\\\]|\\begin\{([a-z]+\*?)\}.*?\\end\{\2\})", re.DOTALL)
_DELIMITERS = re.compile(r"\$+|\\[()\[\]]|\\(?:begin|end)\{[a-z]+\*?\}")
_INSIDE = re.compile(
    r"(?:=|<|>|\\(?:le|leq|ge|geq|ne|neq|approx|equiv|in|to|quad|qquad|text\{[^{}]*\})(?![A-Za-z])|,|;|&|\\\\|\.(?!\d))"
)
_OUTSIDE = re.compile(r"\s+|[,;:?!]|\.(?!\d)|=")
_WRAPPER = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt)?|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_WORDS = re.compile(r"\(?[A-Za-z][A-Za-z\s'-]*\)?")
_EDGE = "\x00"


def is_copied(problem: str, gold: str, answer: str) -> bool:
    """Return whether a formula stands in the problem and is not the gold answer's own text; linear in the problem.

    Words are no formula: of (north, south, east or west), east is chosen.
    """
    if _WORDS.fullmatch(_WRAPPER.sub(r"\1", answer).strip(" .$")):
        return False
    copy = _squeezed(answer)
    if not copy or copy == _squeezed(gold):
        return False
    pieces = {copy, _squeezed(re.split(r"=|\\approx|\\in(?![A-Za-z])", answer)[-1])} - {_squeezed(gold), ""}
    text, edges = _searched(problem)
    return any(_stands(piece, text, edges) for piece in pieces)


def _stands(piece: str, text: str, edges: frozenset[int]) -> bool:
    at = text.find(piece)
    while at >= 0:
        if at in edges and at + len(piece) in edges:
            return True
        at = text.find(piece, at + 1)
    return False


@lru_cache(maxsize=1024)
def _searched(problem: str) -> tuple[str, frozenset[int]]:
    """Return the text that is searched and the places where a formula may begin or end."""
    marked = ""
    for at, part in enumerate(_MATHS.split(problem)):
        if part is None or at % 3 == 2:
            continue
        signs = _INSIDE if at % 3 == 1 else _OUTSIDE
        bare = _DELIMITERS.sub(_EDGE, part)
        marked += _EDGE + signs.sub(lambda sign: f"{_EDGE}{sign[0]}{_EDGE}", bare) + _EDGE
    pieces = [_squeezed(piece) for piece in marked.split(_EDGE)]
    edges, length = {0}, 0
    for piece in pieces:
        length += len(piece)
        edges.add(length)
    return "".join(pieces), frozenset(edges)


def _squeezed(text: str) -> str:
    text = _DELIMITERS.sub("", text)
    for name, same in _SAME:
        text = name.sub(same, text)
    text = _FRACTION.sub(lambda found: f"{found[1] or found[3]}/{found[2] or found[4]}", text)
    return _IGNORED.sub("", text)
