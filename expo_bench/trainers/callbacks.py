"""What happens beside the steps: rows, logs and progress are written, and checkpoints go back through the harness."""

import json
import random
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import TrainerCallback

from expo_bench.config import load_config
from expo_bench.errors import UserError
from expo_bench.evaluation.pipeline import evaluate
from expo_bench.evaluation.planning import plan, planned_problems
from expo_bench.evaluation.progress import Progress
from expo_bench.rows import Rollout
from expo_bench.storage.row_files import append_line, write_atomically
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.recipe_fields import Evaluation

_SAME = 1e-3
"""Nats a token that numbers of 16 bits may be away from themselves."""


class Source(Protocol):
    """Where the rollouts of a step come from."""

    def take(self) -> list[Rollout]:
        """Write the rows of the step, and return them."""
        ...


class Records(TrainerCallback):  # type: ignore[misc]
    """Writes the rollouts of a step once it is taken, and the trainer's metrics."""

    def __init__(self, folder: TrainingFolder, source: Source | None, advance: Callable[[int], None]) -> None:
        self._log_path, self._source, self._advance = folder.log_path, source, advance

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the step's rollouts."""
        rows = self._source.take() if self._source else []
        if state.is_world_process_zero:
            self._advance(sum(row.n_tokens for row in rows if row.source != "expert"))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Append the metrics, one line a logging step.

        Raises:
            UserError: the reference of the KL term is not the policy of the start.
        """
        if state.global_step == 1 and logs.get("kl", 0.0) > _SAME:
            raise UserError(
                f"the policy of the first step is {logs['kl']:.3g} nats a token away from its reference (trl.beta), "
                "which should be itself: give a model folder that holds all weights, or leave trl.beta out"
            )
        if state.is_world_process_zero:
            append_line(self._log_path, json.dumps({"step": state.global_step, **logs}))


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Evaluates each checkpoint when it is saved, in this process, or queues the command for another machine."""

    def __init__(self, recipe: Recipe, folder: TrainingFolder, progress: Progress) -> None:
        self._recipe, self._folder, self._progress = recipe, folder, progress

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluate the checkpoint that was just saved."""
        if state.is_world_process_zero:
            evaluate_checkpoint(self._recipe, self._folder, state.global_step, self._progress)


def evaluate_checkpoint(recipe: Recipe, folder: TrainingFolder, step: int, progress: Progress) -> None:
    """Evaluate the policy after `step` steps (0: the base) as the recipe asks; nothing where that was done before."""
    if recipe.evaluation is None:
        return
    run = folder.evaluation(step)
    model = recipe.model if step == 0 else str(folder.checkpoint(step))
    if recipe.evaluation.mode == "queue":
        _queue(folder.queue_path, recipe, recipe.evaluation, model, run.path)
        return
    if run.manifest_path.is_file() and run.read_manifest().status == "finished":
        return
    progress.note(f"evaluating step {step}")
    config = load_config(None, evaluation_settings(recipe, recipe.evaluation, model))
    with _random_state_kept():
        evaluate(plan(config, run.path), progress)


def evaluation_settings(recipe: Recipe, chosen: Evaluation, model: str) -> dict[str, Any]:
    """Return the settings of `expo-bench eval` for a checkpoint; the seed is the recipe's."""
    settings = {
        "model": model, "benchmarks": list(chosen.benchmarks), "split": chosen.split, "levels": chosen.levels,
        "limit": chosen.limit, "n": chosen.n, "temperature": chosen.temperature, "top_p": chosen.top_p,
        "max_tokens": chosen.max_tokens or recipe.max_tokens, "prompt": recipe.prompt, "data_dir": recipe.data_dir,
        "seed": recipe.seed, "engine": "transformers" if chosen.mode == "in_process" else "auto",
    }  # fmt: skip
    if model == recipe.model and recipe.revision:
        settings["revision"] = recipe.revision
    return {key: value for key, value in settings.items() if value is not None}


def _queue(path: Path, recipe: Recipe, chosen: Evaluation, model: str, run: Path) -> None:
    settings = evaluation_settings(recipe, chosen, model)
    words = ["expo-bench", "eval", *(f"{key}={_yaml(value)}" for key, value in settings.items()), "-o", str(run)]
    line = shlex.join(words) + "\n"
    lines = path.read_text(encoding="utf-8") if path.is_file() else ""
    if line not in lines:
        # not appended to: a torn line would run into the next
        write_atomically(path, lines + line)


def _yaml(value: Any) -> str:
    # JSON is YAML, and stands on one line
    return value if isinstance(value, str) else json.dumps(value, default=str)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Training goes on as if nothing had been evaluated: a run that was stopped in between must not differ."""
    state = random.getstate()
    with torch.random.fork_rng():
        yield
    random.setstate(state)


def check_evaluation(recipe: Recipe) -> None:
    """See that the evaluation could be run, before anything is trained.

    Raises:
        UserError: it could not; its cause is that of the error of `expo-bench eval`.
    """
    if recipe.evaluation is not None:
        try:
            config = load_config(None, evaluation_settings(recipe, recipe.evaluation, recipe.model))
            if recipe.evaluation.mode == "in_process":
                planned_problems(config)
        except UserError as error:
            raise UserError(f"evaluation: {error}") from (error.__cause__ or error)
