"""A recipe -> the arguments of TRL's trainers."""

import os
from typing import Any

from expo_bench.errors import UserError
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.trl_fields import with_trl

SERVER_VARIABLE = "EXPO_BENCH_VLLM_SERVER"
"""URL of the vLLM server: where it runs is no part of a recipe, or a job on another machine could not go on."""


def batch_geometry(recipe: Recipe, n_processes: int) -> tuple[int, int]:
    """Return sequences of a forward pass on one device, and how many passes make a step.

    Raises:
        UserError: the numbers of the recipe do not divide.
    """
    if recipe.prompts_per_step % n_processes:
        raise UserError(
            f"prompts_per_step ({recipe.prompts_per_step}) must be a multiple of the {n_processes} processes: "
            "a group stays on one of them"
        )
    local = recipe.prompts_per_step // n_processes * recipe.num_generations
    micro = recipe.micro_batch or local
    if local % micro:
        raise UserError(f"micro_batch ({micro}) must divide the {local} rollouts that fall to a process at each step")
    return micro, local // micro


def common_arguments(recipe: Recipe, folder: TrainingFolder) -> dict[str, Any]:
    """Return what all trainers take."""
    import torch

    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder.checkpoints_path),
        "learning_rate": recipe.learning_rate,
        # the paper's schedule is not known; a constant rate makes runs of different lengths comparable
        "lr_scheduler_type": "constant",
        "max_steps": recipe.steps,
        "seed": recipe.seed,
        "save_strategy": "steps",
        "save_steps": recipe.checkpoint_every,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,
        "remove_unused_columns": False,
        # every weight takes part in every pass: looking for others would walk the graph once more
        "ddp_find_unused_parameters": False,
    }


def grpo_arguments(recipe: Recipe, folder: TrainingFolder, n_processes: int) -> dict[str, Any]:
    """Return the arguments of GRPOConfig.

    Raises:
        UserError: numbers that do not divide, or a field of `trl` that may not be set.
    """
    from trl import GRPOConfig

    micro, accumulation = batch_geometry(recipe, n_processes)
    arguments = {
        **common_arguments(recipe, folder),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulation,
        "steps_per_generation": accumulation * recipe.minibatches,
        "num_iterations": recipe.iterations,
        "num_generations": recipe.num_generations,
        "max_completion_length": recipe.max_tokens,
        "temperature": recipe.temperature,
        # the order of the prompts is written into the dataset, so that it survives a restart
        "shuffle_dataset": False,
        # each rollout's mean over its own tokens, then the mean of the rollouts: the paper's 1/G sum 1/|o|
        "loss_type": "grpo",
        "scale_rewards": "group",
        "beta": 0.0,
        "use_vllm": recipe.sampler == "vllm",
        # TRL's correction by importance sampling stays on: explanations, whose ratio it would send to 0, are no rows of
        # its batch
        **recipe.of_method.trl,
    }
    if recipe.sampler == "vllm" and os.environ.get(SERVER_VARIABLE):
        arguments["vllm_server_base_url"] = os.environ[SERVER_VARIABLE]
    return with_trl(arguments, recipe, GRPOConfig)


def make_config(config: type[Any], arguments: dict[str, Any]) -> Any:
    """Return TRL's configuration object.

    Raises:
        UserError: TRL refuses a value, or a tracker is not installed.
    """
    _check_trackers(arguments["report_to"])
    try:
        return config(**arguments)
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(f"TRL refuses the recipe: {' '.join(str(error).split())}") from error


def _check_trackers(names: str | list[str]) -> None:
    from transformers.integrations import get_reporting_integration_callbacks

    try:
        for callback in get_reporting_integration_callbacks([] if names in ("none", ["none"]) else names):
            callback()
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"trl.report_to {names}: {' '.join(str(error).split())}") from error
