"""What a recipe will take: rollouts, evaluations, checkpoints; the time of drawing alone, from short probes."""

from collections.abc import MutableMapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from expo_bench.config import load_config
from expo_bench.costs.costs import GRADE_BYTES, Cost, Estimate, draw_cost
from expo_bench.costs.estimate import checkpoint_bytes, checkpoint_steps, model_size, most_drawn
from expo_bench.costs.probing import AT_ONCE, Drawn, probe
from expo_bench.errors import UserError
from expo_bench.evaluation.planning import Plan, plan
from expo_bench.evaluation.progress import Progress
from expo_bench.evaluation.sampling import Sampling
from expo_bench.settings import ProblemReading
from expo_bench.trainers.callbacks import evaluation_settings
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.recipe_fields import Evaluation

Known = MutableMapping[str, Drawn]
"""What probes have seen, by their settings."""
BASE = "evaluation of the base"


def recipe_costs(recipe: Recipe, seconds: float | None, progress: Progress, *, known: Known, on_gpu: bool) -> Estimate:
    """Return what a run of the recipe takes at most; with a probe, what is expected if the policy stayed the base.

    The time is that of drawing; the updates of the policy are not in it.

    Args:
        recipe: the run.
        seconds: how long a probe may take, about; None: no probe.
        progress: is told of the probes.
        known: earlier probes, which are not taken again; new ones are put there.
        on_gpu: whether it will be trained on one.

    Raises:
        UserError: a probe's problems are not here, or its engine cannot be used.
    """
    periods, own, explanations = most_drawn(recipe)
    costs: list[Cost] = []
    notes: list[str] = []
    if own + explanations:
        # a step or a round waits for its last rollout: the probe's batch is no larger
        at_once = min(AT_ONCE, own + explanations)
        drawn = None if seconds is None else _seen(_settings(recipe), at_once, seconds, progress, known, refilled=False)
        notes += [drawn.note("rollouts")] if drawn else []
        costs.append(draw_cost("rollouts", periods * (own + explanations), recipe.max_tokens, drawn))
    if recipe.evaluation is not None:
        found = _evaluations(recipe, recipe.evaluation, seconds, progress, known)
        costs, notes = costs + found.costs, notes + found.notes
    number, size = len(checkpoint_steps(recipe)), checkpoint_bytes(recipe, model_size(recipe), on_gpu=on_gpu)
    costs.append(Cost(stage="checkpoints", count=number, disk=None if size is None else number * size))
    return Estimate(costs=costs, notes=notes)


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of `expo-bench eval` that draw rollouts as the recipe does."""
    found = recipe.model_dump(
        include={
            "model", "revision", "split", "levels", "subjects", "limit", "shuffle_seed", "data_dir",
            "dataset_revision", *ProblemReading.model_fields, "prompt", "max_tokens", "temperature", "seed",
        }
    )  # fmt: skip
    return {
        **found,
        "benchmarks": [recipe.benchmark],
        "n": recipe.still.rollouts if recipe.still else recipe.num_generations,
        "engine": "vllm" if recipe.sampler == "vllm" else "transformers",
        # as the weights that are trained
        "dtype": "float32" if recipe.dtype == "auto" and recipe.lora is None else recipe.dtype,
    }


def _seen(
    settings: dict[str, Any], at_once: int, seconds: float, progress: Progress, known: Known, *, refilled: bool
) -> Drawn:
    key = repr((sorted({**settings, "seed": 0}.items()), at_once, refilled))
    if key not in known:
        known[key] = probe(_planned(settings), seconds, progress, at_once, refilled=refilled)[1][Sampling.name]
    return known[key]


def _planned(settings: dict[str, Any]) -> Plan:
    with TemporaryDirectory() as scratch:
        # in a folder that is not there everything is to do
        return plan(load_config(None, settings), Path(scratch, "run"))


def _evaluations(
    recipe: Recipe, chosen: Evaluation, seconds: float | None, progress: Progress, known: Known
) -> Estimate:
    settings = evaluation_settings(recipe, chosen, recipe.model)
    steps = checkpoint_steps(recipe)
    try:
        number = len(_planned(settings).problems) * chosen.n
    except UserError:
        if seconds is not None:
            raise
        return Estimate(costs=[Cost(stage="evaluations")], notes=[])
    drawn = None if seconds is None else _seen(settings, AT_ONCE, seconds, progress, known, refilled=True)
    most = chosen.max_tokens or recipe.max_tokens
    listed = ((BASE, number), ("evaluations of checkpoints", number * len(steps)))
    costs = [draw_cost(stage, count, most, drawn) for stage, count in listed]
    grades = Cost(stage="grades", count=number * (1 + len(steps)), disk=number * (1 + len(steps)) * GRADE_BYTES)
    return Estimate(costs=[*costs, grades], notes=[drawn.note("evaluations")] if drawn else [])
