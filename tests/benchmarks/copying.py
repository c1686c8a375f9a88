"""Problems that a formula copied out of their own text solves: without the problem at hand, and with it."""

import os
import re
from collections.abc import Iterator, Sequence

from expo_bench.grading.judge import Attempt, Judge
from expo_bench.problems import load
from expo_bench.rows import Problem
from tests.benchmarks.figures import Figure

MOST_PROBLEMS = 500
FORMULA = re.compile(r"\$\$?(.+?)\$\$?|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
SIGN = re.compile(r"=|,|;|\\(?:leq?|geq?|neq?|approx|equiv|in)(?![A-Za-z])|<|>")
SPACE = re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[,;:! ]|[\s${}]")


def copies(problem: Problem) -> Iterator[str]:
    """Yield the formulas of a problem, whole and side by side, but for the gold answer's own text."""
    seen = {SPACE.sub("", problem.answer)}
    for found in FORMULA.finditer(problem.question):
        formula = found[1] or found[2] or found[3]
        for text in (formula, *SIGN.split(formula)):
            text = text.strip().rstrip(".")
            if text and (bare := SPACE.sub("", text)) not in seen:
                seen.add(bare)
                yield text


def solved(problems: Sequence[Problem], judge: Judge) -> tuple[int, int, int]:
    """Return how many formulas there are, and how many problems they solve without and with the problem at hand."""
    attempts = [
        (problem.problem_id, Attempt(gold=problem.answer, problem=problem.question, text=f"\\boxed{{{copy}}}"))
        for problem in problems
        for copy in copies(problem)
    ]
    before, after = set(), set()
    for (name, _), verdict in zip(attempts, judge.judge_many(one for _, one in attempts), strict=True):
        if verdict.correct:
            after.add(name)
        if verdict.correct or verdict.status == "copied":
            before.add(name)
    return len(attempts), len(before), len(after)


def figure(name: str, judge: Judge) -> Figure:
    """Copy in evenly spread problems of a benchmark."""
    problems = load(name).problems
    problems = problems[:: max(1, len(problems) // MOST_PROBLEMS)]
    n_formulas, before, after = solved(problems, judge)
    shares = [100 * count / len(problems) for count in (before, after)]
    return Figure(
        what=f"{name}: problems solved by copying, {n_formulas:,} formulas of {len(problems)} problems",
        yardstick="the same without the problem",
        ratios=[after / before if before else 1.0],
        absolute=f"{shares[1]:.2f} against {shares[0]:.2f} percent",
        goal="under 0.3 percent",
    )


def measure() -> list[Figure]:
    if not os.environ.get("EXPO_BENCH_DATA"):
        raise RuntimeError("EXPO_BENCH_DATA names no folder with math500.jsonl and omni_math_rule.jsonl")
    with Judge(timeout_seconds=60.0) as judge:
        return [figure(name, judge) for name in ("math500", "omni-math-rule")]
