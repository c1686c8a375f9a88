"""What tells problems and versions of a benchmark apart: ids and digests."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable

from expo_bench.problems.base import Entry
from expo_bench.rows import Problem


def with_ids(entries: Iterable[Entry], benchmark: str, split: str) -> list[Problem]:
    """Return the problems; the second with the same question gets the suffix -2, the third -3."""
    seen: Counter[str] = Counter()
    problems = []
    for entry in entries:
        problem_id = f"{benchmark}-{hashlib.sha256(entry.question.encode()).hexdigest()[:12]}"
        seen[problem_id] += 1
        if seen[problem_id] > 1:
            problem_id = f"{problem_id}-{seen[problem_id]}"
        problems.append(
            Problem(
                problem_id=problem_id,
                benchmark=benchmark,
                split=split,
                question=entry.question,
                answer=entry.answer,
                solution=entry.solution,
                level=entry.level,
                subject=entry.subject,
                domain=entry.domain,
                source=entry.source,
            )
        )
    return problems


def digest(problems: Iterable[Problem]) -> str:
    """Return the sha256 of the questions and answers, whatever their order."""
    pairs = sorted(json.dumps([problem.question, problem.answer]) for problem in problems)
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()
