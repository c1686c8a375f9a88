r"""How an answer is built: relations, lists, brackets and sets, down to formulas that the parser reads.

Splitting is done on the text, so that a comma, a bracket or an equals sign means the same wherever it stands.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(r"\\begin\{[a-z*]+\}|\\end\{[a-z*]+\}|\\[A-Za-z]+|\\.|<=|>=|.", re.DOTALL)
_OPENING = {"(", "[", "{", r"\{", r"\lfloor", r"\lceil", r"\langle"}
_CLOSING = {")", "]", "}", r"\}", r"\rfloor", r"\rceil", r"\rangle"}
_LISTED = {",", ";", r"\lor"}
_RELATED = {
    "=",
    "<",
    ">",
    r"\le",
    r"\ge",
    r"\ne",
    r"\in",
    r"\approx",
    r"\equiv",
    r"\sim",
    r"\simeq",
    r"\cong",
    r"\subset",
    r"\mid",
}
_COMBINED = {r"\cup", r"\cap", r"\setminus", r"\backslash"}
_BRACKETS = {"(": ")", "[": "]", r"\{": r"\}", r"\langle": r"\rangle"}
_SUM_LIMITS = re.compile(r"\\(?:sum|prod|int|lim|bigcup|bigcap)(?![A-Za-z])")
_SIGNS = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")
_TRANSPOSED = re.compile(r"\s*\^\s*\{?\s*(?:\\(?:top|intercal|mathrm\{T\}|mathsf\{T\}|text\{T\})|T)\s*\}?\s*\Z")
_RATIO = re.compile(r"[^:=<>]+(?::[^:=<>]+)+")
_ANGLED = re.compile(r"<\s*([^<>=]+,[^<>=]+)>")
_BUILT = re.compile(
    r"(?P<name>\\?[A-Za-z]+)\s*(?:\\in\s*\\(?:mathbb\s*\{?\s*R\s*\}?|R)\s*)?(?:\\mid(?![A-Za-z])|[:|])\s*(?P<said>.+)"
)
MOST_PARTS = 200


@dataclass(frozen=True, slots=True)
class Formula:
    """What the parser reads, or what is no mathematics."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    r"""Several parts: a list ("1, 2"), what stands in brackets, a ratio (":"), and a list joined by "or" (r"\lor")."""

    left: str
    right: str
    parts: tuple["Node", ...]

    @property
    def ordered(self) -> bool:
        """Whether the order of the parts counts."""
        return self.left in ("(", "[", r"\langle", ":")


@dataclass(frozen=True, slots=True)
class Relation:
    """Parts with a sign between each two: x = 3, 1 < x < 2; a part that is missing is an empty formula."""

    signs: tuple[str, ...]
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Combination:
    r"""Sets with \cup, \cap or \setminus between each two."""

    signs: tuple[str, ...]
    parts: tuple["Node", ...]


Node = Formula | Group | Relation | Combination


def read(text: str) -> Node:
    """Return how a text is built."""
    text = _without_braces(text.strip())
    text = _ANGLED.sub(r"\\langle \1\\rangle", text)
    parts, signs = _split(text, _LISTED)
    if signs:
        while parts and not parts[-1].strip():  # a comma at the end
            parts.pop()
        by = r"\lor" if r"\lor" in signs else ","
        return Group(by, by, tuple(_flat(map(read, parts))))
    parts, signs = _split(text, _RELATED)
    if signs and not {"=", r"\in"} & {*signs} and (united := _split(text, _COMBINED))[1]:
        return Combination(tuple(united[1]), tuple(map(read, united[0])))
    if signs:
        return Relation(tuple(signs), tuple(map(read, parts)))
    parts, signs = _split(text, _COMBINED)
    if signs:
        return Combination(tuple(signs), tuple(map(read, parts)))
    if grouped := _grouped(text):
        return grouped
    if _RATIO.fullmatch(text) and "|" not in text:
        parts, signs = _split(text, {":"})
        if signs:
            return Group(":", ":", tuple(map(read, parts)))
    if _SIGNS.search(text):
        return Group(",", ",", (Formula(_signed(text, True)), Formula(_signed(text, False))))
    return Formula(text)


def formulas(node: Node) -> Iterator[Formula]:
    """Yield the formulas of a node."""
    if isinstance(node, Formula):
        yield node
    else:
        for part in node.parts:
            yield from formulas(part)


def _flat(parts: Iterator[Node]) -> Iterator[Node]:
    """Yield the parts, those of a part with ± one by one."""
    for part in parts:
        if isinstance(part, Group) and part.left == ",":
            yield from part.parts
        else:
            yield part


def _signed(text: str, plus: bool) -> str:
    return (
        _SIGNS.sub(lambda sign: " + " if (sign[0] == r"\pm") == plus else " - ", text).strip().removeprefix("+").strip()
    )


def _grouped(text: str) -> Node | None:
    """Return what stands as a whole in one pair of brackets; None where that is no list, interval or set."""
    text = _TRANSPOSED.sub("", text) if text[:1] in "([" and "," in text else text
    left = next((name for name in _BRACKETS if text.startswith(name)), None)
    if left is None:
        return None
    right = next((name for name in _BRACKETS.values() if text.endswith(name)), None)
    if right is None or len(text) < len(left) + len(right) or not _encloses(text):
        return None
    inside = text[len(left) : -len(right)].strip()
    if left == r"\{" and (built := _BUILT.fullmatch(inside)):
        said = read(built["said"])
        if isinstance(said, Relation) or (isinstance(said, Group) and said.left in _LISTED):
            return said
    parts, signs = _split(inside, {",", ";"})
    if not signs and left != r"\{":
        whole = read(inside) if inside else None  # parentheses around one thing
        return whole if right == _BRACKETS[left] and not isinstance(whole, Formula) else None
    nodes = tuple(_flat(map(read, parts))) if inside else ()
    return Group(left, right, nodes)


def _encloses(text: str) -> bool:
    """Return whether the first bracket is closed by the last one."""
    depth, tokens = 0, _TOKEN.findall(text)
    for at, token in enumerate(tokens):
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0 and at < len(tokens) - 1:
            return False
    return depth == 0


def _split(text: str, signs: set[str]) -> tuple[list[str], list[str]]:
    """Return the parts of a text between signs that stand in no bracket, and these signs."""
    parts: list[str] = []
    found: list[str] = []
    depth = start = 0
    if _SUM_LIMITS.search(text) and "=" in signs:
        signs = signs - {r"\in"}
    for match in _TOKEN.finditer(text):
        token, at = match[0], match.start()
        if token in _OPENING or token.startswith(r"\begin"):
            depth += 1
        elif token in _CLOSING or token.startswith(r"\end"):
            depth -= 1
        elif depth <= 0 and token in signs and len(found) < MOST_PARTS:
            parts.append(text[start:at])
            found.append(token)
            start = match.end()
    return [*parts, text[start:]], found


def _without_braces(text: str) -> str:
    while text.startswith("{") and text.endswith("}") and _encloses(text):
        text = text[1:-1].strip()
    return text
