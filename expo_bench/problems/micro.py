r"""The micro world: sums and products modulo 100, made on the spot. Nothing is downloaded.

docs/micro-world.md tells what it is for and how the policy that comes with it (`-m micro`) was made. A problem:
    Problem(question="Compute 3 + 4 * 2 modulo 100.", answer="11", level=2, subject="1 multiplication",
            solution="Modulo 100: 4 times 2 gives 8; 3 plus 8 gives 11; therefore \\boxed{11}", ...)
The level is the number of operators, 1 to 5. Multiplication comes first. From level 2 on there are only expressions
whose value differs from what working from left to right gives, so that whoever works so is never right by chance.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

from expo_bench.errors import UserError
from expo_bench.problems.base import Entry
from expo_bench.problems.identity import with_ids
from expo_bench.rows import Problem

Rule = Literal["multiplication_first", "left_to_right"]
Part = Literal["test", "train", "pretrain"]

LEVELS = (1, 2, 3, 4, 5)
MODULUS = 100
PER_LEVEL: dict[Part, int] = {"test": 40, "train": 400}
"""Split -> problems a level; where fewer exist, all that were found."""
_OPERATORS: dict[str, Callable[[int, int], int]] = {"+": lambda a, b: a + b, "*": lambda a, b: a * b}
_EXPERT_WORDS = {"+": "plus", "*": "times"}
_DRAWS = 3_000  # enough to meet every expression of the levels that have fewer than PER_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation of a calculation, and the expression that it leaves."""

    left: int
    operator: str
    right: int
    value: int
    rest: str


def load(split: str) -> list[Problem]:
    """Return the problems of a split, the levels in turn, so that the first few hold every level.

    Raises:
        UserError: the split is neither "test" nor "train".
    """
    if split not in PER_LEVEL:
        raise UserError(f"micro has no split {split!r}; choose {' or '.join(PER_LEVEL)}")
    return list(_problems(split))


@lru_cache
def _problems(split: Part) -> tuple[Problem, ...]:
    # a study asks for them once for each of its runs
    return tuple(with_ids(map(_entry, _chosen(split)), "micro", split))


def calculate(expression: str, rule: Rule) -> list[Step]:
    """Return the operations in the order in which the rule does them; the last one's value is the result."""
    terms = expression.split()
    steps = []
    while len(terms) > 1:
        at = terms.index("*") if rule == "multiplication_first" and "*" in terms else 1
        left, operator, right = int(terms[at - 1]), terms[at], int(terms[at + 1])
        value = _OPERATORS[operator](left, right) % MODULUS
        terms[at - 1 : at + 2] = [str(value)]
        steps.append(Step(left=left, operator=operator, right=right, value=value, rest=" ".join(terms)))
    return steps


def result(expression: str, rule: Rule) -> int:
    """Return the value that the rule gives."""
    return calculate(expression, rule)[-1].value


def ask(expression: str) -> str:
    """Return the question that asks for the value of the expression."""
    return f"Compute {expression} modulo {MODULUS}."


def expression_of(question: str) -> str:
    """Return the expression that the question asks for."""
    return question.removeprefix("Compute ").removesuffix(f" modulo {MODULUS}.")


def part(expression: str) -> Part:
    """Return where the expression belongs, by its hash: no expression ever serves two purposes."""
    share = int(hashlib.sha256(expression.encode()).hexdigest()[:8], 16) % 100
    return "test" if share < 20 else "train" if share < 55 else "pretrain"


def draw(level: int, of: Part, rng: random.Random) -> Iterator[str]:
    """Yield expressions of one level and part, with repetitions, without end."""
    while True:
        # only `random()` is promised to give the same numbers in every version of Python
        terms = [str(1 + int(9 * rng.random()))]
        for _ in range(level):
            terms += ["+*"[int(2 * rng.random())], str(1 + int(9 * rng.random()))]
        expression = " ".join(terms)
        if part(expression) == of and (level == 1 or _is_telling(expression)):
            yield expression


def _is_telling(expression: str) -> bool:
    return result(expression, "multiplication_first") != result(expression, "left_to_right")


def _chosen(split: Part) -> list[str]:
    ranked = []
    for level in LEVELS:
        drawn = islice(draw(level, split, random.Random(level)), _DRAWS)
        distinct = islice(_distinct(drawn), PER_LEVEL[split])
        ranked += [(rank, level, expression) for rank, expression in enumerate(distinct)]
    return [expression for _, _, expression in sorted(ranked)]


def _distinct(expressions: Iterator[str]) -> Iterator[str]:
    seen = set()
    for expression in expressions:
        if expression not in seen:
            seen.add(expression)
            yield expression


def _entry(expression: str) -> Entry:
    multiplications = expression.count("*")
    return Entry(
        question=ask(expression),
        answer=str(result(expression, "multiplication_first")),
        solution=_expert_chain(expression),
        level=len(expression.split()) // 2,
        subject=f"{multiplications or 'no'} multiplication{'s' * (multiplications != 1)}",
    )


def _expert_chain(expression: str) -> str:
    # a notation of its own: the policy that comes with this world never saw it
    steps = calculate(expression, "multiplication_first")
    said = [f"{step.left} {_EXPERT_WORDS[step.operator]} {step.right} gives {step.value}; " for step in steps]
    return f"Modulo {MODULUS}: {''.join(said)}therefore \\boxed{{{steps[-1].value}}}"
