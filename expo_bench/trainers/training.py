"""`expo-bench train`: a recipe, from its problems to its last checkpoint and that one's evaluation."""

import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from expo_bench.errors import UserError, install
from expo_bench.evaluation.progress import Progress
from expo_bench.settings import ProblemReading, load_settings
from expo_bench.storage import environment
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.checks import checked_problems
from expo_bench.trainers.ledger import generated_tokens, zero_reward
from expo_bench.trainers.libraries import quiet, without_vllm
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.trl_fields import depends_on_passes


def load_recipe(file: Path | None, settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Return a recipe: the YAML file, then `settings`, then `key=value` overrides.

    Raises:
        UserError: unreadable file, unknown key, or a value that does not fit; one line that names the key.
    """
    return load_settings(Recipe, file, settings, overrides)


def recipe_yaml(recipe: Recipe) -> str:
    """Return the resolved recipe; `load_recipe` reads it back. Sections that the method does not use are left out."""
    values = recipe.model_dump(mode="json")
    for section in ("expo", "preference", "still"):
        if section not in recipe.model_fields_set and not (section == "expo" and recipe.is_online):
            del values[section]
    # as recipes from before these settings
    values = {key: value for key, value in values.items() if key not in ProblemReading.model_fields or value}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def run_yaml(recipe: Recipe) -> str:
    """Return what makes a run this one and no other: the recipe without `micro_batch`, where that is memory alone."""
    return recipe_yaml(recipe if depends_on_passes(recipe) else recipe.model_copy(update={"micro_batch": None}))


def differing_keys(folder: TrainingFolder, recipe: Recipe) -> list[str]:
    """Return the keys in which the recipe is not that of the folder's run; later settings have their defaults there."""
    there, wanted = (yaml.safe_load(run_yaml(one)) for one in (load_recipe(folder.recipe_path, {}), recipe))
    return [key for key in {**there, **wanted} if there.get(key) != wanted.get(key)]


def train(recipe: Recipe, folder: TrainingFolder, progress: Progress) -> dict[str, Any]:
    """Train from where the folder stands to the recipe's last step; return what training.json holds.

    Raises:
        UserError: bad input, or a folder that another process writes to.
    """
    quiet()
    try:
        if recipe.sampler != "vllm":
            without_vllm()
        import torch
        from accelerate import PartialState
        from accelerate.utils import broadcast_object_list

        from expo_bench.trainers.callbacks import check_evaluation, evaluate_checkpoint
    except ImportError as error:
        raise UserError(f"training needs more packages ({error}): {install('train')}") from error
    loaded = checked_problems(recipe)
    if not folder.recipe_path.is_file():
        check_evaluation(recipe)
    # told in so many words: a launcher without an accelerator would else start processes that do not know each other
    state = PartialState(cpu=not torch.cuda.is_available())
    with ExitStack() as held:
        refusal: list[UserError | None] = [None]
        if state.is_main_process:
            try:
                held.enter_context(folder.lock())
                _prepare(folder, recipe, progress)
                for warning in loaded.warnings:
                    progress.note(f"{recipe.benchmark}: {warning}")
                for step in [0, *folder.checkpoints()]:
                    evaluate_checkpoint(recipe, folder, step, progress)
            except UserError as error:
                refusal = [error]
        # all processes end with it, or those that wait would fail with an error of their own
        broadcast_object_list(refusal)
        if refusal[0]:
            raise refusal[0]
        if recipe.is_online:
            from expo_bench.trainers.online.run import train_online

            if max(folder.checkpoints(), default=0) < recipe.steps:
                train_online(recipe, loaded.problems, folder, progress)
        else:
            from expo_bench.trainers.rounds.offline import train_offline

            train_offline(recipe, loaded.problems, folder, progress)
        state.wait_for_everyone()
        if state.is_main_process:
            _finish(folder, recipe, loaded.provenance)
        state.wait_for_everyone()
    return json.loads(folder.record_path.read_bytes())  # type: ignore[no-any-return]


def _prepare(folder: TrainingFolder, recipe: Recipe, progress: Progress) -> None:
    if not folder.recipe_path.is_file():
        folder.begin(recipe_yaml(recipe))
    elif keys := differing_keys(folder, recipe):
        raise UserError(f"{folder.path} holds a run with another {', '.join(keys)}; choose another folder with -o")
    for name in folder.drop_torn_checkpoints():
        progress.note(f"{name} was not written to its end and is dropped")
    done = max(folder.checkpoints(), default=0)
    folder.cut_rollouts(done)
    folder.cut_log(done)
    if done:
        progress.note(f"going on after step {done} of {recipe.steps}")


def _finish(folder: TrainingFolder, recipe: Recipe, provenance: dict[str, Any]) -> None:
    record = {
        "method": recipe.method,
        "steps": recipe.steps,
        "checkpoints": folder.checkpoints(),
        **(_online_record(folder) if recipe.is_online else _rounds_record(folder)),
        "benchmark": provenance,
        "environment": {**environment.describe(), "trl": importlib.metadata.version("trl")},
    }
    write_atomically(folder.record_path, json.dumps(record, indent=1))


def _online_record(folder: TrainingFolder) -> dict[str, Any]:
    return {
        "generated_tokens": generated_tokens(folder.rollouts()),
        "zero_reward": [asdict(row) for row in zero_reward(folder.rollouts())],
    }


def _rounds_record(folder: TrainingFolder) -> dict[str, Any]:
    from expo_bench.trainers.rounds.offline import records

    rounds = records(folder)
    generated: Counter[str] = Counter()
    for one in rounds:
        generated.update(one["generated_tokens"])
    found = {"generated_tokens": dict(generated), "rounds": rounds}
    # only still writes its rollouts beside the rounds
    ledger = [asdict(row) for row in zero_reward(folder.rollouts())]
    return {**found, "zero_reward": ledger} if ledger else found
