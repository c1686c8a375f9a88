"""Explore: rollouts of hard problems in waves, until enough of a problem are right; and the ledger of what it took."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from expo_bench.engines.base import Generator
from expo_bench.evaluation.drawing import count
from expo_bench.evaluation.planning import Plan, begin, open_planned
from expo_bench.evaluation.progress import Progress
from expo_bench.evaluation.sampling import sampling
from expo_bench.grading.judge import GRADER, Judge
from expo_bench.grading.stage import grade
from expo_bench.rows import Grade, Problem, Rollout, Sample
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder
from expo_bench.trainers.rewards import reward

Graded = list[tuple[Sample, Grade]]
"""The rollouts of one problem in the order of their indexes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What became of one problem."""

    problem_id: str
    level: int | None
    drawn: int
    """Rollouts."""
    right: int
    first_right: int | None
    """Index of the first right rollout: the problem is solved within k where it is less than k."""


def explore(planned: Plan, progress: Progress, *, wave: int, enough: int) -> dict[str, Graded]:
    """Draw and grade the missing rollouts; return those of each problem.

    `wave` rollouts of each problem are drawn, then as many again of those problems that have fewer than `enough` right
    ones, up to the plan's n. What is drawn depends on earlier waves alone, so a run that was stopped draws the same.

    Args:
        planned: candidates of the source own; its n is the most rollouts a problem.
        progress: told of the rollouts.
        wave: rollouts of a problem.
        enough: right rollouts.

    Raises:
        UserError: an engine that cannot be used, or a folder that another process writes to.
    """
    n = planned.config.n
    engine: Generator | None = None
    with planned.run.lock(), Judge() as judge:
        try:
            for first in range(0, n, wave):
                found = graded_rollouts(planned.run, planned.problems)
                open_problems = [one for one in planned.problems if _n_right(found[one.problem_id], first) < enough]
                upto = min(first + wave, n)
                stage = replace(sampling(planned.config, planned.prompt), n=upto)
                if lacking := stage.missing(planned.run, open_problems):
                    if engine is None:
                        engine = open_planned(planned, progress)
                        begin(planned, engine.describe(), progress)
                    told = progress.start(f"exploring, up to {upto}", count(lacking), 0, engine.gauge)
                    stage.draw(planned.run, lacking, engine, partial(_tell, told))
                grade(planned.run, judge=judge)
        finally:
            if engine is not None:
                engine.close()
    return graded_rollouts(planned.run, planned.problems)


def graded_rollouts(run: RunFolder, problems: Sequence[Problem]) -> dict[str, Graded]:
    """Return the graded rollouts of each problem."""
    verdicts = {(row.problem_id, row.sample_index): row for row in run.grades(GRADER)}
    found: dict[str, Graded] = {problem.problem_id: [] for problem in problems}
    for row in run.samples():
        if (row.problem_id, row.sample_index) in verdicts:
            found[row.problem_id].append((row, verdicts[row.problem_id, row.sample_index]))
    return {name: sorted(listed, key=lambda pair: pair[0].sample_index) for name, listed in found.items()}


def ledger(problems: Sequence[Problem], found: dict[str, Graded]) -> list[Explored]:
    """Return what became of each problem."""
    rows = []
    for problem in problems:
        listed = found[problem.problem_id]
        right = [row.sample_index for row, verdict in listed if verdict.correct]
        rows.append(
            Explored(
                problem_id=problem.problem_id,
                level=problem.level,
                drawn=len(listed),
                right=len(right),
                first_right=min(right, default=None),
            )
        )
    return rows


def write_ledger(path: Path, rows: Sequence[Explored], most: int) -> dict[str, Any]:
    """Write the ledger; return its totals.

    Args:
        path: of the file.
        rows: one a problem.
        most: rollouts a problem, at most: `solved_within` has the number of problems solved within k for k = 1 to most.
    """
    by_level: dict[str, list[Explored]] = defaultdict(list)
    for row in rows:
        by_level["all" if row.level is None else f"level={row.level}"].append(row)
    groups = {"all": list(rows), **dict(sorted(by_level.items()))}
    totals = {name: _totals(listed, most) for name, listed in groups.items()}
    write_atomically(path, json.dumps({"totals": totals, "problems": [asdict(row) for row in rows]}, indent=1))
    return totals["all"]


def rollout_rows(problems: Sequence[Problem], found: dict[str, Graded], step: int) -> list[Rollout]:
    """Return the rollouts as rows of a training run, a problem's as one group; they have no advantages."""
    return [
        Rollout(
            step=step,
            group=group,
            problem_id=problem.problem_id,
            level=problem.level,
            source="own",
            sample_index=row.sample_index,
            text=row.text,
            n_tokens=row.n_tokens or 0,
            finish_reason=row.finish_reason,
            sum_logprob=row.sum_logprob,
            status=verdict.status,
            reward=reward(verdict),
            advantage=None,
            weight=None,
            leaks_answer=None,
        )
        for group, problem in enumerate(problems)
        for row, verdict in found[problem.problem_id]
    ]


def _n_right(listed: Graded, before: int) -> int:
    return sum(verdict.correct is True for row, verdict in listed if row.sample_index < before)


def _tell(advance: Callable[[int], None], row: Sample) -> None:
    advance(row.n_tokens or 0)


def _totals(rows: Sequence[Explored], most: int) -> dict[str, Any]:
    firsts = Counter(row.first_right for row in rows if row.first_right is not None)
    return {
        "problems": len(rows),
        "drawn": sum(row.drawn for row in rows),
        "right": sum(row.right for row in rows),
        "solved_within": [sum(count for at, count in firsts.items() if at < k) for k in range(1, most + 1)],
    }
