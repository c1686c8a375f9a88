"""The policy that a trainer starts from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

from expo_bench.engines.loading import SMALL, find_model, load_model, load_tokenizer
from expo_bench.trainers.recipe import Recipe


def load_policy(recipe: Recipe, model: str | None = None) -> tuple[Any, Any]:
    """Return model and tokenizer, the model in training mode.

    Args:
        recipe: names the model, and its type of numbers.
        model: in place of the recipe's, a checkpoint for instance.

    Raises:
        UserError: it cannot be loaded.
    """
    files = find_model(model or recipe.model, recipe.revision if model is None else None)
    dtype = recipe.dtype
    if dtype == "auto":
        # small updates are lost in bfloat16 weights: only frozen ones, under adapters, may be that short
        dtype = (
            "bfloat16" if recipe.lora and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
        )
    policy = load_model(files, dtype, "cpu")
    policy.config.use_cache = False
    # adapters that were merged have frozen what they were merged into
    policy.requires_grad_(True)
    if not torch.cuda.is_available() and policy.num_parameters() < SMALL:
        torch.set_num_threads(1)
    tokenizer = load_tokenizer(files)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return policy.train(), tokenizer


@contextmanager
def own_reference(recipe: Recipe) -> Iterator[None]:
    """While TRL's GRPO trainer is made, let the reference of its KL term be the policy that the recipe names.

    TRL would load it by the name in the policy's configuration: without the revision, and without adapters that were
    merged into it.
    """

    def load(*_: Any, **__: Any) -> Any:
        return load_policy(recipe)[0].eval().requires_grad_(False)

    with patch("trl.trainer.grpo_trainer.create_model_from_path", load):
        yield


def lora_config(recipe: Recipe) -> Any:
    """Return peft's configuration; None for full fine-tuning."""
    if recipe.lora is None:
        return None
    from peft import LoraConfig

    modules = recipe.lora.target_modules
    return LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        task_type="CAUSAL_LM",
    )
