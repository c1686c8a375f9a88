"""Gold answers with one number, sign or root changed are wrong, unless they have the same value after all."""

import os
import random
import re
from collections.abc import Iterator

import pytest
import sympy
from math_verify import parse

from expo_bench.grading.judge import Attempt, Judge
from expo_bench.problems import load

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("EXPO_BENCH_DATA"), reason="EXPO_BENCH_DATA names no folder"),
]

NAMES = (
    "math500", "math", "aime24", "aime25", "aime26", "omni-math-rule", "olympiadbench", "minerva", "olymmath-easy",
    "olymmath-hard", "hmmt-feb25", "brumo25", "cmimc25", "amc23",
)  # fmt: skip
MUTATIONS = 3000
MOST_ACCEPTED = 3
SITE = re.compile(r"\d+|[+-]|\\sqrt(?:\[\d+\])?")
INDEPENDENT = sympy.Rational("2.7182817"), sympy.Rational("0.5772157"), sympy.Rational("1.6180339")


def mutated(gold: str, rng: random.Random) -> str | None:
    """Return the answer with one of its numbers, signs or roots changed; None where it has none."""
    sites = list(SITE.finditer(gold))
    if not sites:
        return None
    site = rng.choice(sites)
    old = site[0]
    if old.isdigit():
        number = int(old)
        new = str(rng.choice([number + 1, max(0, number - 1), number + 10, int(str(number)[::-1])]))
        new = str(number + 1) if int(new) == number else new
    elif old in "+-":
        new = "-" if old == "+" else "+"
    else:
        new = r"\sqrt[3]" if old == r"\sqrt" else r"\sqrt"
    return gold[: site.start()] + new + gold[site.end() :]


def values(text: str) -> list[sympy.Expr] | None:
    """Return the values of a formula at three points, by a reader and an arithmetic other than the judge's."""
    found = [one for one in parse(f"${text}$", parsing_timeout=None) if isinstance(one, sympy.Expr)]
    if not found:
        return None
    names = sorted(found[0].free_symbols, key=str)
    # an exponent or index that is called so is a whole number
    points = [
        {name: sympy.Integer(3 + at) if str(name) in "nkmN" else point + at for at, name in enumerate(names)}
        for point in INDEPENDENT
    ]
    return [sympy.N(found[0].subs(point), 40) for point in points]


def is_equal(gold: str, mutation: str) -> bool:
    left, right = values(gold), values(mutation)
    if left is None or right is None:
        return False
    return all(abs(a - b) <= abs(a) * sympy.Rational(1, 10**30) for a, b in zip(left, right, strict=True))


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(timeout_seconds=60.0) as judge:
        yield judge


@pytest.fixture(scope="module")
def golds() -> list[str]:
    return [problem.answer for name in NAMES for problem in load(name).problems]


@pytest.mark.parametrize("seed", [1, 2, 3, 7])
def test_mutated_golds_are_wrong(seed: int, golds: list[str], judge: Judge) -> None:
    rng = random.Random(seed)
    pairs: list[tuple[str, str]] = []
    for gold in rng.sample(golds, len(golds)):
        mutation = mutated(gold, rng)
        if mutation not in (None, gold):
            pairs.append((gold, str(mutation)))
        if len(pairs) == MUTATIONS:
            break
    attempts = (Attempt(gold=gold, text=f"\\boxed{{{mutation}}}") for gold, mutation in pairs)
    accepted = [pair for pair, verdict in zip(pairs, judge.judge_many(attempts), strict=True) if verdict.correct]
    wrong = [pair for pair in accepted if not is_equal(*pair)]
    print(f"seed {seed}: {len(pairs)} mutations, {len(accepted)} accepted, of another value {wrong}")
    assert len(wrong) <= MOST_ACCEPTED
