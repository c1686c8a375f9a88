"""A balanced choice of problems and samples for people to read, the same each time, drawn from files of any size."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from expo_bench.rows import Grade, Problem, Sample
from expo_bench.storage.run_folder import RunFolder

MOST_PROBLEMS = 60
MOST_SAMPLES = 240
SAMPLES_OF_A_PROBLEM = 4
Outcome = Literal["correct", "wrong", "ungraded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSample:
    """A chosen sample with its verdict."""

    sample: Sample
    grade: Grade
    outcome: Outcome


@dataclass(slots=True, kw_only=True)
class ReadRun:
    """What one run made of a chosen problem."""

    n: int = 0
    n_correct: int = 0
    samples: list[ReadSample] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadProblem:
    """A chosen problem with the samples of each run, in the order of the runs."""

    problem: Problem
    runs: tuple[ReadRun, ...]


def draw(folders: Sequence[RunFolder], grader: str) -> list[ReadProblem]:
    """Choose problems evenly over benchmarks, levels and how often they were solved, and samples of each.

    Files are read a row at a time; what is held grows with the number of problems, not of samples.
    """
    counts = [_counts(folder.grades(grader)) for folder in folders]
    n_problems, n_samples = _quota(len(folders))
    chosen = _choose_problems(folders, counts, n_problems)
    found = {problem.problem_id: tuple(ReadRun() for _ in folders) for problem in chosen}
    for position, folder in enumerate(folders):
        grades = _choose_grades(folder.grades(grader), found.keys(), n_samples)
        for sample in _wanted(folder.samples(), set(grades)):
            grade = grades[sample.problem_id, sample.sample_index]
            run = found[sample.problem_id][position]
            run.samples.append(ReadSample(sample=sample, grade=grade, outcome=_outcome(grade)))
        for problem_id, runs in found.items():
            runs[position].n, runs[position].n_correct = counts[position].get(problem_id, (0, 0))
            runs[position].samples.sort(key=lambda read: read.sample.sample_index)
    return [ReadProblem(problem=problem, runs=found[problem.problem_id]) for problem in chosen]


def describe(drawn: Sequence[ReadProblem]) -> str:
    """Say what was drawn, and what it must not be used for."""
    n_samples = sum(len(run.samples) for read in drawn for run in read.runs)
    return (
        f"{len(drawn)} problems with {n_samples} samples, drawn evenly over levels, over problems solved always, "
        "sometimes and never, and over correct and other samples; so their proportions say nothing about rates."
    )


def _quota(n_runs: int) -> tuple[int, int]:
    """Return how many problems, and how many samples of each by each run, keep the page small."""
    n_samples = SAMPLES_OF_A_PROBLEM if n_runs == 1 else 2 if n_runs <= 3 else 1
    return max(1, min(MOST_PROBLEMS, MOST_SAMPLES // (n_runs * n_samples))), n_samples


def _counts(grades: Iterable[Grade]) -> dict[str, tuple[int, int]]:
    """Return the number of samples and of correct ones, for each problem."""
    counts: dict[str, tuple[int, int]] = {}
    for grade in grades:
        n, n_correct = counts.get(grade.problem_id, (0, 0))
        counts[grade.problem_id] = (n + 1, n_correct + bool(grade.correct))
    return counts


def _choose_problems(
    folders: Sequence[RunFolder], counts: Sequence[dict[str, tuple[int, int]]], most: int
) -> list[Problem]:
    # strata hold ids only: questions and solutions are read again for the few that are chosen
    strata: dict[tuple[str, int], dict[str, list[str]]] = {}
    seen: set[str] = set()
    for folder in folders:
        for problem in folder.problems():
            tallies = [tally[problem.problem_id] for tally in counts if problem.problem_id in tally]
            if not tallies or problem.problem_id in seen:
                continue
            seen.add(problem.problem_id)
            n, n_correct = (sum(column) for column in zip(*tallies, strict=True))
            solved = "never" if n_correct == 0 else "always" if n_correct == n else "sometimes"
            level = -1 if problem.level is None else problem.level
            strata.setdefault((problem.benchmark, level), defaultdict(list))[solved].append(problem.problem_id)
    chosen = set(_take_turns([strata[key] for key in sorted(strata)], most))
    problems = {p.problem_id: p for folder in folders for p in folder.problems() if p.problem_id in chosen}
    return sorted(problems.values(), key=lambda p: (p.benchmark, p.level is None, p.level or 0, p.problem_id))


def _take_turns(strata: Sequence[dict[str, list[str]]], most: int) -> list[str]:
    """Take one problem of each stratum in turn, in each stratum one of each kind in turn."""
    queues = []
    for stratum in strata:
        for ids in stratum.values():
            ids.sort(key=lambda problem_id: _rank(problem_id))
        queues.append([stratum.get(solved, []) for solved in ("sometimes", "never", "always")])
    chosen: list[str] = []
    turn = 0
    while len(chosen) < most and any(ids for kinds in queues for ids in kinds):
        for position, kinds in enumerate(queues):
            if len(chosen) < most and any(kinds):
                order = [kinds[(turn + position + step) % 3] for step in range(3)]
                chosen.append(next(ids for ids in order if ids).pop(0))
        turn += 1
    return chosen


def _choose_grades(grades: Iterable[Grade], problem_ids: Iterable[str], most: int) -> dict[tuple[str, int], Grade]:
    """Return the grades of the samples to show: as many correct as not, where there are both."""
    by_problem: dict[str, list[Grade]] = {problem_id: [] for problem_id in problem_ids}
    for grade in grades:
        if grade.problem_id in by_problem:
            by_problem[grade.problem_id].append(grade)
    chosen = {}
    for problem_id, own in by_problem.items():
        own.sort(key=lambda grade: _rank(f"{problem_id} {grade.sample_index}"))
        right, other = ([g for g in own if bool(g.correct) is wanted] for wanted in (True, False))
        n_right = min(len(right), max(most // 2, most - len(other)))
        if most == 1 and right and other:
            n_right = _rank(problem_id)[0] % 2
        for grade in right[:n_right] + other[: most - n_right]:
            chosen[problem_id, grade.sample_index] = grade
    return chosen


def _wanted(samples: Iterable[Sample], keys: set[tuple[str, int]]) -> Iterator[Sample]:
    """Yield the samples with these keys, and stop reading after the last of them."""
    missing = set(keys)
    for sample in samples:
        if not missing:
            return
        key = (sample.problem_id, sample.sample_index)
        if key in missing:
            missing.remove(key)
            yield sample


def _outcome(grade: Grade) -> Outcome:
    if grade.status != "graded":
        return "ungraded"
    return "correct" if grade.correct else "wrong"


def _rank(key: str) -> bytes:
    return hashlib.sha256(f"0 {key}".encode(errors="replace")).digest()
