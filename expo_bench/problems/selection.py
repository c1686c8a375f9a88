"""Which problems of a benchmark a run takes."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence

from expo_bench.errors import UserError
from expo_bench.rows import Problem


def select(
    problems: Sequence[Problem],
    *,
    levels: Collection[int] | None = None,
    subjects: Collection[str] | None = None,
    limit: int | None = None,
    per_level: int | None = None,
    shuffle_seed: int | None = None,
) -> list[Problem]:
    """Return the problems of these levels and subjects, shuffled, then the first `limit`, or `per_level` of each level.

    A subject is compared without regard to case, with the problem's subject and with each of its domains. The order of
    a shuffle depends on the seed and the ids alone: a larger limit adds problems and changes none.

    Raises:
        UserError: there is no such level or subject, or nothing is left.
    """
    if limit is not None and limit < 1:
        raise UserError(f"the limit is {limit}; it must be at least 1")
    names = ", ".join(sorted({problem.benchmark for problem in problems}))
    chosen = list(problems)
    if levels is not None:
        chosen = _of_levels(chosen, levels, names)
    if subjects is not None:
        _refuse_unknown_subjects(problems, subjects, names)
        wanted = set(map(_folded, subjects))
        chosen = [problem for problem in chosen if wanted & set(map(_folded, _subjects(problem)))]
    if not chosen:
        raise UserError(f"no problem of {names or 'the benchmark'} has these levels and subjects; widen the choice")
    if shuffle_seed is not None:
        chosen.sort(key=lambda problem: hashlib.sha256(f"{shuffle_seed} {problem.problem_id}".encode()).digest())
    return _first_of_levels(chosen, per_level)[:limit]


def _of_levels(problems: list[Problem], levels: Collection[int], names: str) -> list[Problem]:
    known = {problem.level for problem in problems if problem.level is not None}
    if unknown := sorted(set(levels) - known):
        raise UserError(f"{names} has no level {_listed(unknown)}; its levels: {_listed(sorted(known)) or 'none'}")
    return [problem for problem in problems if problem.level in levels]


def _first_of_levels(problems: list[Problem], most: int | None) -> list[Problem]:
    places: Counter[int | None] = Counter()
    kept = []
    for problem in problems:
        if most is None or places[problem.level] < most:
            kept.append(problem)
        places[problem.level] += 1
    return kept


def _refuse_unknown_subjects(problems: Sequence[Problem], subjects: Collection[str], names: str) -> None:
    known = {subject for problem in problems for subject in _subjects(problem)}
    folded = set(map(_folded, known))
    if unknown := sorted(subject for subject in subjects if _folded(subject) not in folded):
        raise UserError(f"{names} has no subject {_listed(unknown)}; its subjects: {_listed(sorted(known)) or 'none'}")


def _subjects(problem: Problem) -> tuple[str, ...]:
    return problem.domain if problem.subject is None else (problem.subject, *problem.domain)


def _folded(subject: str) -> str:
    return subject.strip().casefold()


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
