"""The section `trl` of a recipe: the fields of TRL's configurations that are known to do here what they say.

Each name below has a test of its own in tests/trainers/test_trl_fields.py. TRL has many more; some would be dropped
without a word by what stands in TRL's place here (the sampler, the rows of token ids, the order of the steps), so all
others are refused, and `trl_unchecked` sets them all the same.
"""

import dataclasses
from typing import Any

from expo_bench.errors import UserError, did_you_mean
from expo_bench.trainers.recipe import Recipe

BY_RECIPE = {
    "output_dir": "-o", "per_device_train_batch_size": "micro_batch", "gradient_accumulation_steps": "micro_batch",
    "num_generations": "num_generations", "max_completion_length": "max_tokens", "temperature": "temperature",
    "learning_rate": "learning_rate", "max_steps": "steps", "num_train_epochs": "steps", "seed": "seed",
    "num_iterations": "iterations", "steps_per_generation": "minibatches",
    "save_steps": "save_every", "save_strategy": "save_every", "use_vllm": "sampler", "max_length": "max_tokens",
    # the order of the rows and what a checkpoint holds decide whether a stopped run ends as a whole one
    "shuffle_dataset": None, "train_sampling_strategy": None, "remove_unused_columns": None,
    "generation_batch_size": None, "save_only_model": None, "ignore_data_skip": None,
    "restore_callback_states_from_checkpoint": None,
}  # fmt: skip
"""Fields that the recipe sets itself, and by which key; None: there is none, their values are part of how it works."""

_ALL = (
    "adam_beta1", "adam_beta2", "adam_epsilon", "bf16", "gradient_checkpointing", "gradient_checkpointing_kwargs",
    "logging_steps", "lr_scheduler_kwargs", "lr_scheduler_type", "max_grad_norm", "optim", "pad_to_multiple_of",
    "report_to", "run_name", "save_total_limit", "warmup_steps", "weight_decay",
)  # fmt: skip
_VLLM = (
    "vllm_enable_sleep_mode", "vllm_gpu_memory_utilization", "vllm_importance_sampling_correction",
    "vllm_max_model_length", "vllm_mode", "vllm_model_impl", "vllm_server_timeout", "vllm_tensor_parallel_size",
)  # fmt: skip
_NOT_OF_SLOTS = ("min_p", "repetition_penalty", "top_k")
TESTED: dict[str, tuple[str, ...]] = {
    "online": (
        *_ALL, *_VLLM, *_NOT_OF_SLOTS, "beta", "delta", "disable_dropout", "entropy_coef",
        "epsilon", "epsilon_high", "importance_sampling_level", "loss_type",
        "off_policy_mask_threshold", "ref_model_mixup_alpha", "ref_model_sync_steps", "sapo_temperature_neg",
        "sapo_temperature_pos", "scale_rewards", "sync_ref_model", "top_entropy_quantile", "top_p",
        "use_bias_correction_kl",
    ),
    "dpo": (
        *_ALL, "disable_dropout", "f_alpha_divergence_coef", "f_divergence_type", "label_smoothing", "ld_alpha",
        "loss_type",
    ),
    "sft": _ALL,
}  # fmt: skip
"""Family -> fields that may be set."""
VALUES = {
    ("online", "loss_type"): ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo"),
    ("dpo", "loss_type"): ("sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down", "sigmoid_norm"),
    ("dpo", "f_divergence_type"): ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"),
}
"""The values that are tested, where a field chooses among formulas."""
_ELSEWHERE = {("dpo", "beta"): "preference.beta", ("dpo", "loss_weights"): "preference.sft_weight"}
_FAMILIES = {"GRPOConfig": "online", "DPOConfig": "dpo", "SFTConfig": "sft"}


def with_trl(arguments: dict[str, Any], recipe: Recipe, config: type[Any]) -> dict[str, Any]:
    """Return TRL's arguments with those of the recipe's `trl` and `trl_unchecked` over them.

    Args:
        arguments: what the recipe sets.
        recipe: the run.
        config: GRPOConfig, DPOConfig or SFTConfig, which decides about the family.

    Raises:
        UserError: a field that the family or TRL does not have, that the recipe sets itself, or that would be ignored.
    """
    family, known = _FAMILIES[config.__name__], {field.name for field in dataclasses.fields(config)}
    for field, value in recipe.trl.items():
        _check_name(f"trl.{field}", field, family, known, config)
        if field not in TESTED[family]:
            near = did_you_mean(field, TESTED[family])
            raise UserError(
                f"trl.{field} is none of the fields that are tested for {config.__name__}{near}; "
                "docs/train.md lists them, and trl_unchecked sets it all the same"
            )
        values = VALUES.get((family, field))
        if values and value not in values:
            raise UserError(f"trl.{field} may be {', '.join(values)}; trl_unchecked sets another")
        _check_heard(recipe, field)
    for field in recipe.trl_unchecked:
        _check_name(f"trl_unchecked.{field}", field, family, known, config)
        if field in TESTED[family] and (family, field) not in VALUES:
            raise UserError(f"trl_unchecked.{field} is tested: set trl.{field}")
    return {**arguments, **recipe.trl, **recipe.trl_unchecked}


def depends_on_passes(recipe: Recipe) -> bool:
    """Tell whether `micro_batch` changes the objective: a mean or a quantile over what is in one forward pass.

    Of unchecked fields nobody knows.
    """
    trl = {**(recipe.of_method.trl if recipe.is_online else {}), **recipe.trl}
    by_pass = trl.get("loss_type") == "bnpo" or bool(trl.get("entropy_coef")) or trl.get("top_entropy_quantile", 1) < 1
    return by_pass or bool(recipe.trl_unchecked)


def _check_name(key: str, field: str, family: str, known: set[str], config: type[Any]) -> None:
    if field in BY_RECIPE:
        where = f"change {BY_RECIPE[field]} there" if BY_RECIPE[field] else "and may not change"
        raise UserError(f"{key} is set by the recipe itself, {where}")
    if (family, field) in _ELSEWHERE:
        raise UserError(f"{key} is set by the recipe itself, change {_ELSEWHERE[family, field]} there")
    if field not in known:
        raise UserError(f"{key}: {config.__name__} has no such field{did_you_mean(field, TESTED[family])}")


def _check_heard(recipe: Recipe, field: str) -> None:
    """Refuse what the recipe's sampler or rounds would drop or could not go on with."""
    if field in _NOT_OF_SLOTS and recipe.sampler == "slots":
        raise UserError(f"trl.{field} is not read by sampler slots: set sampler to transformers or vllm")
    if field in _VLLM and recipe.sampler != "vllm":
        raise UserError(f"trl.{field} belongs to sampler vllm, not to {recipe.sampler}")
    if field == "save_total_limit" and recipe.rounds > 1:
        raise UserError(
            "trl.save_total_limit would delete the checkpoint that a round starts from: leave it out, or set rounds: 1"
        )
