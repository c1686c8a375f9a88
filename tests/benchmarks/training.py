"""Seconds of an ExP-GRPO step against a plain TRL GRPO step, at the same number of completions, on the micro world.

8 problems x 8 completions a step on level 3, at most 64 tokens: TRL draws 8 rollouts a problem; ours 7 and a
self-explanation, judges, learns from both, measures likelihoods and writes every row. Ours once with its own sampler,
once with TRL's `generate`, so that what the sampler saves does not hide what the method costs. Turns alternate.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from expo_bench.grading.judge import Judge
from expo_bench.prompts import BOXED
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.arguments import grpo_arguments
from expo_bench.trainers.callbacks import Records
from expo_bench.trainers.data import order, prompt_rows, training_problems
from expo_bench.trainers.models import load_policy
from expo_bench.trainers.online.run import make_trainer
from expo_bench.trainers.recipe import Recipe
from tests.benchmarks.figures import Figure, against, ratios
from tests.trainers.plain import PlainReward

ROUNDS = 5
STEPS = 8
SHARED = {
    "model": "micro", "benchmark": "micro", "levels": (3,), "steps": STEPS, "prompts_per_step": 8, "max_tokens": 64,
    "learning_rate": 1e-5,
}  # fmt: skip


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Seconds of each step; the first, which warms up, is left out."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._begun = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._begun = self._begun or time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        now = time.perf_counter()
        self._seconds.append(now - self._begun)
        self._begun = now

    def median(self) -> float:
        return statistics.median(self._seconds[1:])


def _plain(judge: Judge, path: Path) -> float:
    recipe = Recipe.model_validate({"method": "grpo", "num_generations": 8, **SHARED})
    problems = training_problems(recipe).problems
    model, tokenizer = load_policy(recipe)
    clock = _Clock()
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=PlainReward(problems, judge, {tokenizer.eos_token_id}),
        args=GRPOConfig(**{**grpo_arguments(recipe, TrainingFolder(path), 1), "save_strategy": "no"}),
        train_dataset=prompt_rows(problems, BOXED).select(order(len(problems), STEPS * 8, 0)),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.median()


def _ours(judge: Judge, path: Path, sampler: str) -> float:
    recipe = Recipe.model_validate({"method": "expo_grpo", "num_generations": 7, "sampler": sampler, **SHARED})
    folder = TrainingFolder(path)
    arguments = GRPOConfig(**{**grpo_arguments(recipe, folder, 1), "save_strategy": "no"})
    trainer = make_trainer(recipe, training_problems(recipe).problems, folder, arguments, judge, True)
    clock = _Clock()
    trainer.add_callback(Records(folder, trainer, lambda _: None))
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.median()


def measure() -> list[Figure]:
    """Return the ratios of step times; at most 1.15."""
    turns: dict[str, list[float]] = {"plain": [], "slots": [], "transformers": []}
    with Judge() as judge, tempfile.TemporaryDirectory() as scratch:
        for turn in range(ROUNDS):
            turns["plain"].append(_plain(judge, Path(scratch, f"plain-{turn}")))
            for sampler in ("slots", "transformers"):
                turns[sampler].append(_ours(judge, Path(scratch, f"{sampler}-{turn}"), sampler))
            print(f"training round {turn}: { {name: round(s[-1], 3) for name, s in turns.items()} }", file=sys.stderr)
    return [
        Figure(
            what=f"time of an ExP-GRPO step, sampler {sampler}",
            yardstick="TRL 1.16 GRPO step",
            ratios=ratios(turns[sampler], turns["plain"]),
            absolute=against(turns[sampler], turns["plain"], "s", 2),
            goal="at most 1.15",
        )
        for sampler in ("slots", "transformers")
    ]
