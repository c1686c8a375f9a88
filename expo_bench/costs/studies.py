"""What is left to take of a study, stage by stage."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from expo_bench.costs.costs import Cost, Estimate, run_costs
from expo_bench.costs.recipe_costs import BASE, Known, recipe_costs
from expo_bench.evaluation.planning import plan
from expo_bench.evaluation.progress import Progress
from expo_bench.storage.run_folder import RunFolder
from expo_bench.studies.study import Run, Study, candidates_config
from expo_bench.trainers.callbacks import evaluation_settings


def study_costs(
    study: Study, runs: Sequence[Run], path: Path, seconds: float | None, progress: Progress, *, on_gpu: bool
) -> Estimate:
    """Return what the study's runs and candidates take that are not finished, a run that was begun as a whole.

    The scoring of the candidates is not reckoned. An evaluation of the base that runs share counts once.

    Args:
        study: with its stage of candidates.
        runs: all of its runs.
        path: its folder.
        seconds: how long a probe may take, about; each model and setting has one. None: no probes.
        progress: is told of them.
        on_gpu: whether runs train on one.

    Raises:
        UserError: as `trainers.recipe_costs.recipe_costs`.
    """
    costs, notes = [], []
    config = candidates_config(study)
    if config is not None and not RunFolder(path / "candidates").likelihood_metrics_path.is_file():
        found = run_costs(plan(config, path / "candidates"), seconds, progress)
        costs = [replace(cost, stage=f"candidates: {cost.stage}") for cost in found.costs]
        notes = [f"candidates: {note}" for note in found.notes]
    known: Known = {}
    bases: set[str] = set()
    training: dict[str, Cost] = {}
    for run in (run for run in runs if not run.done):
        found = recipe_costs(run.recipe, seconds, progress, known=known, on_gpu=on_gpu)
        notes += found.notes
        base = _base(run)
        for cost in found.costs:
            if cost.stage != BASE or base not in bases:
                training[cost.stage] = _sum(training[cost.stage], cost) if cost.stage in training else cost
        bases.add(base)
    return Estimate(costs=[*costs, *training.values()], notes=list(dict.fromkeys(notes)))


def _base(run: Run) -> str:
    chosen = run.recipe.evaluation
    return json.dumps(chosen and evaluation_settings(run.recipe, chosen, run.recipe.model), default=str)


def _sum(one: Cost, other: Cost) -> Cost:
    """Return the costs of the same stage of two runs together; what is not known of one is not known of both."""
    numbers: dict[str, Any] = {
        field.name: None if None in (pair := (getattr(one, field.name), getattr(other, field.name))) else sum(pair)
        for field in fields(Cost)
        if field.name != "stage"
    }
    return replace(one, **numbers)
