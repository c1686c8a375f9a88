"""Whether two answers that were read say the same: docs/grading.md tells the rules."""

import re
from collections.abc import Sequence
from itertools import pairwise

import sympy

from expo_bench.grading import numbers
from expo_bench.grading.formulas import Parsed, parse
from expo_bench.grading.regions import is_reals, region, same_region
from expo_bench.grading.relations import (
    is_equation,
    is_inequality,
    name_of,
    proportional,
    renamed,
    settled,
    stated,
    stated_value,
)
from expo_bench.grading.structure import Combination, Formula, Group, Node, Relation

_EMPTY = re.compile(r"\\emptyset|\\\{\s*\\\}")


def same_nodes(gold: Node, answer: Node) -> bool:
    """Return whether two answers say the same; the gold answer's form decides what the other may be."""
    gold, answer = settled(gold), _agreed(settled(answer))
    if is_equation(gold):
        return _same_as_equation(gold, answer)
    if is_equation(answer):
        value = stated_value(answer)
        return value is not None and same_nodes(gold, value)
    if any(isinstance(one, (Relation, Combination)) or _is_or(one) or is_reals(one) for one in (gold, answer)):
        left, right = region(gold), region(answer)
        if left and right:
            return same_region(left, right)
        if is_inequality(gold) and is_inequality(answer):
            return proportional(gold, answer)
        if isinstance(gold, Relation) and isinstance(answer, Relation) and gold.signs == answer.signs:
            return all(map(same_nodes, gold.parts, answer.parts))
    if isinstance(gold, Group) or isinstance(answer, Group):
        return _same_groups(gold, answer)
    if isinstance(gold, Formula) and isinstance(answer, Formula):
        return same_formulas(gold, answer)
    return False


def same_formulas(gold: Formula, answer: Formula) -> bool:
    """Return whether two formulas have the same value."""
    left, right = parse(gold.text), parse(answer.text)
    return left is not None and right is not None and numbers.equal(left, right)


def _is_or(node: Node) -> bool:
    return isinstance(node, Group) and node.left == r"\lor"


def _agreed(node: Node) -> Node:
    """Return the first of several values that are told as one ("1/2 or 0.5"), any other node as it is."""
    if not isinstance(node, Group) or not _is_or(node) or not all(isinstance(one, Formula) for one in node.parts):
        return node
    return node.parts[0] if all(same_nodes(node.parts[0], one) for one in node.parts[1:]) else node


def _same_as_equation(gold: Node, answer: Node) -> bool:
    assert isinstance(gold, Relation)
    value = stated_value(gold) if stated(gold) else None
    if not is_equation(answer):
        return value is not None and same_nodes(value, answer)
    assert isinstance(answer, Relation)
    other = stated_value(answer) if stated(answer) else None
    if value is not None and other is not None:
        name, another = name_of(gold), name_of(answer)
        if name == another is not None or not (_is_formula(gold.parts[0]) and _is_formula(answer.parts[0])):
            if same_nodes(value, other):
                return True
        elif name is None or another is None:
            ends = [Relation(("=",), (one.parts[0], one.parts[-1])) for one in (gold, answer)]
            return proportional(*ends)
        elif (changed := renamed(other, another, name)) is not None:
            return same_nodes(value, changed)
    return proportional(gold, answer)


def _is_formula(node: Node) -> bool:
    """Return whether a node is mathematics with a variable in it."""
    parsed = parse(node.text) if isinstance(node, Formula) else None
    return parsed is not None and bool(parsed.value.free_symbols)


def _same_groups(gold: Node, answer: Node) -> bool:
    if not isinstance(gold, Group) or not isinstance(answer, Group):
        group, other = (gold, answer) if isinstance(gold, Group) else (answer, gold)
        assert isinstance(group, Group)
        if not group.parts:
            return isinstance(other, Formula) and _EMPTY.fullmatch(other.text.strip()) is not None
        if len(group.parts) == 1:
            return same_nodes(gold.parts[0], answer) if isinstance(gold, Group) else same_nodes(gold, group.parts[0])
        return group.ordered and _same_as_matrix(group, other, is_gold=group is gold)
    equations = [part for part in (*gold.parts, *answer.parts) if is_equation(part)]
    if len(equations) == len(gold.parts) + len(answer.parts) and None in map(name_of, equations):
        return len(gold.parts) == len(answer.parts) and _match(list(gold.parts), list(answer.parts))
    left, right = _parts(gold), _parts(answer)
    if left is None or right is None or len(left) != len(right) or (gold.left == ":") != (answer.left == ":"):
        return False
    if gold.left == ":":
        return _same_ratio(left, right)
    if gold.ordered or answer.ordered or _named(gold):
        return _brackets_agree(gold, answer) and all(map(same_nodes, left, right))
    return _match(left, right)


def _named(group: Group) -> bool:
    """Return whether each part is said of another variable; x_1 and x_2 are one, since which is which is free."""
    names = [(name_of(part) if is_equation(part) else None) for part in group.parts]
    return len({name.partition("_")[0] for name in names if name}) == len(names)


def _parts(group: Group) -> list[Node] | None:
    """Return the parts of a group without their names, by these where all have one; None if one states no value."""
    nodes: list[tuple[str, Node]] = []
    for part in map(settled, group.parts):
        if is_equation(part):
            value = stated_value(part)
            if value is None:
                return None
            values = value.parts if isinstance(value, Group) and value.left == "," else (value,)
            nodes += [((name_of(part) or ""), one) for one in values]
        else:
            nodes.append(("", part))
    names = [name for name, _ in nodes]
    # Greek letters follow no alphabet where they name parts: (r, \theta), (\rho, \theta, \phi)
    if all(names) and len(set(names)) == len(names) and not any(name.startswith("\\") for name in names):
        nodes.sort(key=lambda pair: pair[0])
    return [node for _, node in nodes]


def _brackets_agree(gold: Group, answer: Group) -> bool:
    """Return whether brackets mean the same: of two parts [ and ( are ends of an interval, of more they are taste."""
    if not (gold.ordered and answer.ordered) or len(gold.parts) != 2:
        return True
    ends = [("[" if one.left == "[" else "(", "]" if one.right == "]" else ")") for one in (gold, answer)]
    return ends[0] == ends[1]


def _match(left: list[Node], right: list[Node]) -> bool:
    """Return whether each part on the left has a partner of its own on the right."""
    free = list(right)
    for one in left:
        partner = next((at for at, other in enumerate(free) if same_nodes(one, other)), None)
        if partner is None:
            return False
        del free[partner]
    return True


def _same_ratio(left: Sequence[Node], right: Sequence[Node]) -> bool:
    found = [_number(node) for node in (*left, *right)]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        return all(map(same_nodes, left, right))
    gold, answer = values[: len(left)], values[len(left) :]
    return all(
        numbers.equal(Parsed(g * b), Parsed(h * a))
        for (g, h), (a, b) in zip(pairwise(gold), pairwise(answer), strict=True)
    )


def _number(node: Node) -> sympy.Expr | None:
    parsed = parse(node.text) if isinstance(node, Formula) else None
    return parsed.value if parsed and isinstance(parsed.value, sympy.Expr) else None


def _same_as_matrix(group: Group, other: Node, *, is_gold: bool) -> bool:
    """Return whether a tuple is a matrix of one column or row, or a tuple of rows a matrix: [[1,2],[3,4]]."""
    parsed = parse(other.text) if isinstance(other, Formula) else None
    if parsed is None or not isinstance(parsed.value, sympy.MatrixBase):
        return False
    rows = [row.parts if isinstance(row, Group) and row.ordered else (row,) for row in group.parts]
    height, width = parsed.value.shape
    lengths = [len(row) for row in rows]
    if lengths != [width] * height and not (1 in (height, width) and lengths == [1] * (height * width)):
        return False
    entries = [Parsed(entry) for entry in parsed.value.flat()]
    nodes = [node for row in rows for node in row]
    parts = [parse(node.text) if isinstance(node, Formula) else None for node in nodes]
    pairs = zip(parts, entries, strict=True)
    return all(
        part is not None and (numbers.equal(part, entry) if is_gold else numbers.equal(entry, part))
        for part, entry in pairs
    )
