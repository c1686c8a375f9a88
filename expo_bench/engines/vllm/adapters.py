"""Low-rank adapters that vLLM serves on the model that they belong to, without merging them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expo_bench.engines.loading import ModelFiles, base_of, find_model
from expo_bench.engines.vllm.errors import short_reason
from expo_bench.errors import UserError

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `max_lora_rank` may be (vLLM 0.32, config/lora.py)."""
_UNSUPPORTED = (
    "modules_to_save",
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "layer_replication",
    "use_bdlora",
    "use_qalora",
    "trainable_token_indices",
)
"""Keys of peft's configuration that change more than the low-rank products (vLLM 0.32, lora/peft_helper.py)."""
_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Values of `init_lora_weights` that leave the base model's weights as they are (the same file)."""


_ENDS = {"lm_head", "embed_tokens"}
"""Modules whose adapters vLLM 0.32 applies to sampled positions only: log-probabilities of prompts would lack them."""


def adapter_refusal(files: ModelFiles) -> str | None:
    """Return why vLLM cannot serve the adapters of a folder; None where it can.

    Raises:
        UserError: the folder does not say which model they belong to, or that is not there.
    """
    base = base_of(files)
    if base is None:
        raise ValueError(f"{files.path} holds no adapters")
    if base.gguf_file:
        return "they belong to a GGUF file"
    if base_of(base) is not None:
        return "they belong to a model that is itself made of adapters"
    config = _adapter_config(files)
    if config.get("peft_type") != "LORA":
        return f"they are of the type {config.get('peft_type')}"
    if key := next((key for key in _UNSUPPORTED if config.get(key)), None):
        return f"their configuration has {key}"
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower() not in _PLAIN_STARTS:
        return f"their configuration has init_lora_weights={start}"
    if config.get("bias", "none") != "none":
        return "their configuration has bias"
    if _rank(config) > _RANKS[-1]:
        return f"their rank is {_rank(config)}, the most is {_RANKS[-1]}"
    if ends := _modules(files) & _ENDS:
        return f"they change {min(ends)}"
    return None


def is_better_merged(name: str) -> bool:
    """Tell whether adapters are for another engine: vLLM cannot serve them, or would take longest to start."""
    files = find_model(name)
    base = base_of(files)
    return (base is not None and base.path == find_model("micro").path) or adapter_refusal(files) is not None


def adapter_options(files: ModelFiles) -> dict[str, Any]:
    """Return the arguments of `vllm.LLM` that make room for the adapters of a folder.

    Raises:
        UserError: vLLM cannot serve them.
    """
    if reason := adapter_refusal(files):
        raise UserError(f"vLLM cannot serve the adapters {files.path} ({reason}): use --engine transformers")
    rank = _rank(_adapter_config(files))
    return {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": next(most for most in _RANKS if rank <= most),
        # vLLM would else wrap the output layer too, and fail at log-probabilities of prompts
        "lora_target_modules": sorted(_modules(files)),
    }


def load_adapter(engine: Any, files: ModelFiles) -> Any:
    """Load the adapters of a folder into vLLM's `LLMEngine` and return the `LoRARequest` that asks for them.

    Raises:
        UserError: vLLM refuses them.
    """
    from vllm.lora.request import LoRARequest

    folder = Path(files.path).resolve()
    adapter = LoRARequest(folder.name, 1, str(folder))
    try:
        # now, and not with the first request
        engine.add_lora(adapter)
    # a worker process tells any failure as a bare Exception
    except Exception as error:
        reason = short_reason(error)
        raise UserError(f"vLLM cannot load the adapters {files.path} ({reason}): use --engine transformers") from error
    return adapter


def _rank(config: Mapping[str, Any]) -> int:
    return max([int(config.get("r", 0)), *map(int, (config.get("rank_pattern") or {}).values())])


def _modules(files: ModelFiles) -> set[str]:
    """Return the last names of the modules that the adapters change, such as q_proj."""
    from safetensors import SafetensorError, safe_open

    path = Path(files.path, "adapter_model.safetensors")
    try:
        with safe_open(path, "numpy") as weights:
            names = list(weights.keys())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged: {short_reason(error)}") from error
    return {name.partition(".lora_")[0].rpartition(".")[2] for name in names}


def _adapter_config(files: ModelFiles) -> dict[str, Any]:
    path = Path(files.path, "adapter_config.json")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _rank(config)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {short_reason(error)}") from error
    return config
