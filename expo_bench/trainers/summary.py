"""What a training run did, in a few lines: rewards, what is solved before and after, tokens, and where to look."""

from collections.abc import Iterable
from re import fullmatch

from expo_bench.errors import span
from expo_bench.rows import Metric, Rollout
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.ledger import generated_tokens

_SHARE = 10  # of the steps at either end


def summary(folder: TrainingFolder) -> list[str]:
    """Return the lines; what a run does not have, it has no line of."""
    checkpoints = folder.checkpoints()
    rollouts = list(folder.rollouts())
    lines = [*_reward(rollouts), *_loss(folder.log()), *_solved(folder, checkpoints), *_tokens(rollouts)]
    if not checkpoints:
        return lines
    last = folder.checkpoint(checkpoints[-1])
    evaluated = [str(folder.evaluation(step).path) for step in (0, checkpoints[-1]) if _first_metric(folder, step)]
    if evaluated:
        lines.append(f"look: expo-bench report {' '.join(evaluated)}")
    else:
        lines.append(f"not evaluated: expo-bench eval -m {last} -b BENCHMARK, or a section evaluation in the recipe")
    return lines


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


def _solved(folder: TrainingFolder, checkpoints: list[int]) -> list[str]:
    texts = [
        f"{_percent(found)} after step {step}" if step else f"{_percent(found)} before"
        for step in [0, *checkpoints[-1:]]
        if (found := _first_metric(folder, step))
    ]
    return [f"pass@1: {', '.join(texts)}"] if texts else []


def _first_metric(folder: TrainingFolder, step: int) -> Metric | None:
    run = folder.evaluation(step)
    if not run.metrics_path.is_file():
        return None
    # the average over n samples is pass@1
    return next((one for one in run.metrics() if one.subset == "all" and fullmatch(r"avg(@\d+)?", one.name)), None)


def _percent(one: Metric) -> str:
    if one.value is None or one.ci_low is None or one.ci_high is None:
        return "unknown"
    return f"{100 * one.value:.1f}% ({span(one.ci_low, one.ci_high)} for problems like these)"


def _tokens(rollouts: list[Rollout]) -> list[str]:
    counts = generated_tokens(rollouts)
    return [f"generated: {', '.join(f'{n:,} tokens {name}' for name, n in counts.items())}"] if counts else []
