"""Grades a second of the judge with one worker, over those of math-verify called directly; made-up answers."""

import logging
import random
import time
from collections.abc import Callable

from math_verify import parse, verify

from expo_bench.grading.judge import Attempt, Judge
from tests.benchmarks.figures import Figure, against, ratios

ROUNDS, ANSWERS = 5, 300
Pairs = list[tuple[str, str]]


def easy(rng: random.Random) -> Pairs:
    """Make pairs as benchmarks have them: whole numbers, fractions, decimals, roots; a third are right."""
    pairs = []
    for _ in range(ANSWERS):
        a, b = rng.randint(2, 99999), rng.randint(2, 999)
        kind = rng.random()
        if kind < 0.6:
            gold, wrong = str(a), str(b)
        elif kind < 0.8:
            gold, wrong = rf"\frac{{{a}}}{{{b}}}", rf"\frac{{{b}}}{{{a}}}"
        elif kind < 0.9:
            gold, wrong = f"{a}.{b}", f"{b}.{a}"
        else:
            gold, wrong = rf"{a}\sqrt{{{b}}}", rf"{b}\sqrt{{{a}}}"
        pairs.append((gold, gold if rng.random() < 1 / 3 else wrong))
    return pairs


def numbers(rng: random.Random) -> Pairs:
    """Make pairs of numbers that differ in writing, so that each has to be parsed."""
    numbers = [(rng.randint(10, 99999), rng.randint(1, 9)) for _ in range(ANSWERS)]
    return [(f"{a}.{b}", f"{a}.{b}0") if a % 3 else (f"{a}.{b}", f"{a + 1}.{b}0") for a, b in numbers]


def bare(pairs: Pairs) -> list[bool]:
    """Grade without any protection."""
    verdicts = []
    for gold, answer in pairs:
        parsed = [parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (gold, answer)]
        verdicts.append(verify(*parsed, timeout_seconds=None))
    return verdicts


def protected(judge: Judge, pairs: Pairs) -> list[bool]:
    """Grade as a run does."""
    attempts = (Attempt(gold=gold, text=f"So it is \\boxed{{{answer}}}.") for gold, answer in pairs)
    return [verdict.correct is True for verdict in judge.judge_many(attempts)]


def compare(name: str, make: Callable[[random.Random], Pairs]) -> Figure:
    """Let both sides grade the same pairs in turn."""
    rng = random.Random(0)
    ours, theirs = [], []
    with Judge(workers=1) as judge:
        for pairs in [make(rng) for _ in range(ROUNDS + 1)]:
            seconds = []
            for grade in (bare, lambda pairs: protected(judge, pairs)):
                began = time.perf_counter()
                right = sum(grade(pairs))
                seconds.append(time.perf_counter() - began)
                assert right > ANSWERS / 5
            theirs.append(ANSWERS / seconds[0])
            ours.append(ANSWERS / seconds[1])
    # the first round starts the worker and warms both
    return Figure(
        what=f"speed of grading, {name}, one worker",
        yardstick="bare math-verify",
        ratios=ratios(ours[1:], theirs[1:]),
        absolute=against(ours[1:], theirs[1:], "grades/s"),
    )


def measure() -> list[Figure]:
    logging.disable(logging.WARNING)
    return [compare("easy answers", easy), compare("answers that must all be parsed", numbers)]
