"""Learning curves of a study: what each arm solves after how many steps and generated tokens.

The interval is for problems and seeds like these, by a crossed analysis of variance: with two seeds it is wide,
since two say little of others. With one it speaks of problems alone. The seeds' own values stand beside it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expo_bench import intervals, stats
from expo_bench.errors import UserError
from expo_bench.grading.judge import GRADER
from expo_bench.rows import TELLING
from expo_bench.storage.run_folder import RunFolder
from expo_bench.studies.study import Run
from expo_bench.trainers.ledger import zero_reward

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One metric of one arm after so many steps."""

    arm: str
    step: int
    metric: str
    """pass@1, @4, @8 or @64; or of training, mean of the steps since the point before: "groups all wrong", and
    "entropy" in nats a token, as TRL tells it of the rollouts."""
    level: int | None
    """None: all problems that were evaluated."""
    value: float
    ci_low: float | None
    ci_high: float | None
    """95% interval for problems and seeds like these; None for what is counted and not sampled."""
    per_seed: tuple[float, ...]
    n_problems: int
    generated_tokens: float
    """By the policy during training so far, all purposes, mean of the seeds."""
    problems: str = ""
    """Which problems were evaluated, in words; arms are compared where they are the same."""


def learning_curves(runs: Iterable[Run]) -> list[Point]:
    """Return the points of all arms, from the finished runs.

    Raises:
        UserError: no run is finished.
    """
    arms: dict[str, list[Run]] = {}
    for run in runs:
        if run.done:
            arms.setdefault(run.arm, []).append(run)
    if not arms:
        raise UserError("no run of the study is finished yet")
    points = []
    for arm, listed in arms.items():
        tokens = [_tokens_by_step(run) for run in listed]
        counted = {
            "groups all wrong": [_all_wrong_by_step(run) for run in listed],
            "entropy": [_logged(run, "entropy") for run in listed],
        }
        steps = [0, *listed[0].folder.checkpoints()]
        for before, step in zip([0, *steps], steps, strict=False):
            spent = float(np.mean([sum(count for at, count in one.items() if at < step) for one in tokens]))
            points += _evaluated(arm, step, listed, spent)
            for metric, by_step in counted.items() if step else ():
                means = [_mean(value for at, value in one.items() if before <= at < step) for one in by_step]
                points += _counted(arm, step, metric, means, listed[0], spent)
    return points


def _evaluated(arm: str, step: int, runs: Sequence[Run], spent: float) -> list[Point]:
    folders = [run.folder.evaluation(step) for run in runs if run.folder.evaluation(step).manifest_path.is_file()]
    if not folders:
        return []
    counted = [right_counts(folder) for folder in folders]
    problems = {problem.problem_id: problem.level for problem in folders[0].problems()}
    shared = [one for one in problems if all(one in counts for counts in counted)]
    n = np.array([[counts[one][0] for one in shared] for counts in counted])
    c = np.array([[counts[one][1] for one in shared] for counts in counted])
    levels = np.array([problems[one] or 0 for one in shared])
    points = []
    for k in (k for k in (1, 4, 8, 64) if k <= n.min()):
        solved = np.stack([stats.pass_at_k(*pair, k) for pair in zip(n, c, strict=True)])
        for level in [None, *sorted(set(levels.tolist()))] if len(set(levels.tolist())) > 1 else [None]:
            part = solved if level is None else solved[:, levels == level]
            low, high = intervals.crossed(part)
            points.append(
                Point(
                    arm=arm,
                    step=step,
                    metric=f"pass@{k}",
                    level=level,
                    value=float(part.mean()),
                    ci_low=low,
                    ci_high=high,
                    per_seed=tuple(map(float, part.mean(axis=1))),
                    n_problems=part.shape[1],
                    generated_tokens=spent,
                    problems=_problems(runs[0]),
                )
            )
    return points


def _problems(run: Run) -> str:
    asked = run.recipe.evaluation
    if asked is None:
        return ""
    levels = f", level {', '.join(map(str, asked.levels))}" if asked.levels else ""
    return ", ".join(asked.benchmarks) + levels


def right_counts(folder: RunFolder) -> dict[str, tuple[int, int]]:
    """Return each problem's samples that tell what the policy can, and the right ones among them; see `TELLING`."""
    found: dict[str, tuple[int, int]] = {}
    for grade in folder.grades(GRADER):
        if grade.status in TELLING:
            n, c = found.get(grade.problem_id, (0, 0))
            found[grade.problem_id] = (n + 1, c + (grade.correct is True))
    return found


def _tokens_by_step(run: Run) -> dict[int, int]:
    """Return the tokens that were generated for each step; methods in rounds generate for a round's first step."""
    by_step: dict[int, int] = {}
    if not run.recipe.is_online:
        rounds = json.loads(run.folder.record_path.read_bytes())["rounds"]
        length = run.recipe.steps // run.recipe.rounds
        return {number * length: sum(one["generated_tokens"].values()) for number, one in enumerate(rounds)}
    for row in run.folder.rollouts():
        if row.source != "expert":
            by_step[row.step] = by_step.get(row.step, 0) + row.n_tokens
    return by_step


def _all_wrong_by_step(run: Run) -> dict[int, float]:
    rows = zero_reward(run.folder.rollouts())
    groups: dict[int, list[tuple[int, float]]] = {}
    for row in rows:
        groups.setdefault(row.step, []).append((row.groups, row.all_wrong))
    return {step: sum(n * share for n, share in some) / sum(n for n, _ in some) for step, some in groups.items()}


def _logged(run: Run, name: str) -> dict[int, float]:
    """Return a number of TRL's log by step, counted from 0 as rollouts are."""
    return {int(row["step"]) - 1: float(row[name]) for row in run.folder.log() if name in row}


def _counted(arm: str, step: int, metric: str, means: Sequence[float | None], first: Run, spent: float) -> list[Point]:
    known = tuple(one for one in means if one is not None)
    if not known:
        return []
    return [
        Point(
            arm=arm,
            step=step,
            metric=metric,
            level=None,
            value=float(np.mean(known)),
            ci_low=None,
            ci_high=None,
            per_seed=known,
            n_problems=0,
            generated_tokens=spent,
            problems=_problems(first),
        )
    ]


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return sum(listed) / len(listed) if listed else None
