"""A model's name and the user's wish -> an engine."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Generator
from expo_bench.engines.loading import is_adapter
from expo_bench.engines.vllm.adapters import is_better_merged
from expo_bench.errors import UserError


def engine_name(engine: str, model: str) -> str:
    """Return which engine "auto" stands for: vLLM if it is installed and can run the model, else transformers."""
    if engine != "auto":
        return engine
    if model.startswith(("http://", "https://")):
        return "server"
    # vLLM takes longer to start than the micro model to finish; it reads no GGUF files
    if model == "micro" or model.endswith(".gguf"):
        return "transformers"
    from expo_bench.engines.vllm import engine as vllm

    if not vllm.usable() or (is_adapter(model) and is_better_merged(model)):
        return "transformers"
    return "vllm"


def open_engine(spec: EngineSpec) -> Generator:
    """Load the model in its engine, or in several at once.

    Raises:
        UserError: the engine is not installed, or the model cannot be loaded.
    """
    name = engine_name(spec.engine, spec.model)
    if name == "server":
        return _open_server(spec)
    template = _read(spec.chat_template) if spec.chat_template else None
    common: dict[str, Any] = {
        "revision": spec.revision,
        "dtype": spec.dtype,
        "chat_template": template,
        "enable_thinking": spec.enable_thinking,
        "options": spec.engine_options,
    }
    if spec.replicas is not None:
        from expo_bench.engines.replicas.engine import ReplicaEngine

        # a replica's working directory is not this one
        there = str(Path(spec.model).resolve()) if Path(spec.model).exists() else spec.model
        return ReplicaEngine(
            partial(_load, name, there, common),
            spec.model,
            n=spec.replicas,
            address=spec.ray_address,
            gpus=_gpus(spec.engine_options),
            revision=spec.revision,
        )
    return _load(name, spec.model, common)


def _open_server(spec: EngineSpec) -> Generator:
    if spec.replicas is not None:
        raise UserError("--replicas runs engines of its own: give a server's further endpoints in MODEL instead")
    from expo_bench.engines.server.engine import ServerEngine

    url, _, served = spec.model.partition("#")
    if not url or not served or "://" in served:
        raise UserError(
            f"{spec.model} is not of the form URL#name, for instance http://127.0.0.1:8000/v1#name, "
            "or URL,URL#name for several endpoints of one model"
        )
    if spec.chat_template is not None:
        raise UserError(
            f"a server has a chat template of its own: start it with {spec.chat_template} (vllm serve --chat-template) "
            "and leave --chat-template out here"
        )
    options: dict[str, Any] = spec.engine_options
    return ServerEngine(url, served, enable_thinking=spec.enable_thinking, **options)


def _load(name: str, model: str, common: Mapping[str, Any]) -> Generator:
    if name == "vllm":
        from expo_bench.engines.vllm.engine import VllmEngine

        return VllmEngine(model, **common)
    from expo_bench.engines.transformers.engine import TransformersEngine

    return TransformersEngine(model, **common)


def _gpus(options: Mapping[str, Any]) -> int:
    """Return how many GPUs one engine uses: those over which vLLM splits the model."""
    split = (options.get(name, 1) for name in ("tensor_parallel_size", "pipeline_parallel_size"))
    return math.prod(size if isinstance(size, int) else 1 for size in split)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"chat template {path} cannot be read: {error}") from error
