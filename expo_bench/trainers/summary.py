"""What a training run did: rewards, what is solved before and after, tokens, and where to look."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from expo_bench.errors import span
from expo_bench.grading.judge import GRADER
from expo_bench.intervals import differences
from expo_bench.reports.tables import Cell, MetricTable, Row, Table, spread_ks
from expo_bench.reports.terminal import INTERVALS, TerminalTable, share_cell
from expo_bench.rows import Rollout
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.ledger import generated_tokens

_SHARE = 10  # of the steps at either end


def summary(folder: TrainingFolder) -> list[str]:
    """Return the lines; what a run does not have, it has no line of."""
    checkpoints = folder.checkpoints()
    rollouts = list(folder.rollouts())
    lines = [*_reward(rollouts), *_loss(folder.log()), *_tokens(rollouts)]
    runs = _evaluated(folder)
    if len(runs) == 2:
        lines.append(f"look: expo-bench compare {' '.join(str(run.path) for run in runs.values())}")
    elif checkpoints and not runs:
        last = folder.checkpoint(checkpoints[-1])
        lines.append(f"not evaluated: expo-bench eval -m {last} -b BENCHMARK, or a section evaluation in the recipe")
    return [*lines, f"look: expo-bench report {folder.path}"]


def solved(folder: TrainingFolder) -> TerminalTable | None:
    """Return the table of what is solved before and after, as that of an evaluation; None without evaluations."""
    runs = _evaluated(folder)
    tables = {label: MetricTable(run.metrics()) for label, run in runs.items()}
    if not tables:
        return None
    *_, last = tables.values()
    average = last.average
    passes = [last.pass_ks[k] for k in spread_ks(list(last.pass_ks))]
    names = [name for name in (average, *passes, "truncated", "no_answer") if name in last.names]
    rows = []
    for label, table in tables.items():
        found = [table.get(name) for name in names]
        counted = next((metric.n_problems for metric in found if metric), 0)
        rows.append(Row(label=label, cells=[*map(share_cell, found), Cell(text=f"{counted:,}")]))
    if len(runs) == 2:
        rows.append(Row(label="change, points", cells=[_change(*runs.values()), *[Cell(text="")] * len(names)]))
    head = ["", *(name.replace("_", "\n") for name in names), "problems"]
    return TerminalTable(Table(caption=INTERVALS, head=head, rows=rows), title=folder.path.name)


def _evaluated(folder: TrainingFolder) -> dict[str, RunFolder]:
    """Return the finished evaluations of the base and of the last checkpoint."""
    found = {
        f"after step {step}" if step else "before training": folder.evaluation(step)
        for step in [0, *folder.checkpoints()[-1:]]
    }
    return {label: run for label, run in found.items() if run.metrics_path.is_file()}


def _change(base: RunFolder, trained: RunFolder) -> Cell:
    """Return by how much the share of right samples moved, paired by problem."""
    before, after = _rates(base), _rates(trained)
    moved = np.array([[after[one] - before[one]] for one in before if one in after])
    if not len(moved):
        return Cell(text="")
    low, high = (None if np.isnan(end[0]) else float(end[0]) for end in differences(moved))
    return Cell(text=f"{100 * moved.mean():+.1f}", interval=span(low, high, sign="+"))


def _rates(run: RunFolder) -> dict[str, float]:
    right: dict[str, list[bool]] = defaultdict(list)
    for grade in run.grades(GRADER):
        right[grade.problem_id].append(grade.correct is True)
    return {problem: sum(own) / len(own) for problem, own in right.items()}


def _reward(rollouts: Iterable[Rollout]) -> list[str]:
    by_step: dict[int, list[float]] = {}
    for row in rollouts:
        if row.source == "own" and row.reward is not None:
            by_step.setdefault(row.step, []).append(row.reward)
    if len(by_step) < 2:
        return []
    steps = sorted(by_step)
    width = max(1, len(steps) // _SHARE)

    def mean(some: list[int]) -> float:
        rewards = [one for step in some for one in by_step[step]]
        return sum(rewards) / len(rewards)

    first, last = mean(steps[:width]), mean(steps[-width:])
    return [f"reward of own rollouts: {first:.2f} in the first {_steps(width)}, {last:.2f} in the last {_steps(width)}"]


def _steps(width: int) -> str:
    return "step" if width == 1 else f"{width} steps"


def _loss(log: list[dict[str, float]]) -> list[str]:
    losses = [line["loss"] for line in log if "loss" in line]
    return [f"loss: {losses[0]:.3g} at first, {losses[-1]:.3g} at last"] if len(losses) > 1 else []


def _tokens(rollouts: list[Rollout]) -> list[str]:
    counts = generated_tokens(rollouts)
    return [f"generated: {', '.join(f'{n:,} tokens {name}' for name, n in counts.items())}"] if counts else []
