"""A model's name and the user's wish -> an engine."""

from functools import partial
from pathlib import Path

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Generator
from expo_bench.engines.loading import is_adapter
from expo_bench.engines.vllm.adapters import is_better_merged
from expo_bench.errors import UserError


def engine_name(spec: EngineSpec) -> str:
    """Return which engine "auto" stands for: vLLM if it is installed and can run the model, else transformers."""
    model = spec.model
    if spec.engine != "auto":
        return spec.engine
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
    name = engine_name(spec)
    if spec.replicas is None:
        return _open(name, spec)
    if name == "server":
        raise UserError("--replicas runs engines of its own: give a server's further endpoints in MODEL instead")
    from expo_bench.engines.replicas.engine import ReplicaEngine

    # another machine may have no such file
    _ = spec.template
    # a replica's working directory is not this one
    model = str(Path(spec.model).resolve()) if Path(spec.model).exists() else spec.model
    return ReplicaEngine(spec, partial(_open, name, spec.model_copy(update={"model": model})))


def _open(name: str, spec: EngineSpec) -> Generator:
    if name == "server":
        from expo_bench.engines.server.engine import ServerEngine

        return ServerEngine(spec)
    if name == "vllm":
        from expo_bench.engines.vllm.engine import VllmEngine

        return VllmEngine(spec)
    from expo_bench.engines.transformers.engine import TransformersEngine

    return TransformersEngine(spec)
