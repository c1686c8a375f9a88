"""A model's name and the user's wish -> an engine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expo_bench.engines.base import Generator
from expo_bench.engines.loading import is_adapter
from expo_bench.errors import UserError


def engine_name(engine: str, model: str) -> str:
    """Return which engine "auto" stands for: vLLM if it is installed and can run the model, else transformers."""
    if engine != "auto":
        return engine
    if model.startswith(("http://", "https://")):
        return "server"
    # vLLM takes longer to start than the micro model to finish; it reads no GGUF files, and adapters not merged
    if model == "micro" or model.endswith(".gguf") or is_adapter(model):
        return "transformers"
    from expo_bench.engines import vllm

    return "vllm" if vllm.usable() else "transformers"


def open_engine(
    engine: str,
    model: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    chat_template: Path | None = None,
    enable_thinking: bool | None = None,
    options: Mapping[str, Any] | None = None,
) -> Generator:
    """Load the model in the engine; arguments as in `config.EvalConfig`.

    Raises:
        UserError: the engine is not installed, or the model cannot be loaded.
    """
    name = engine_name(engine, model)
    if name == "server":
        from expo_bench.engines.server import ServerEngine

        url, _, served = model.partition("#")
        if not url or not served:
            raise UserError(f"{model} is not of the form URL#name, for instance http://127.0.0.1:8000/v1#name")
        return ServerEngine(url, served, enable_thinking=enable_thinking, **(options or {}))
    template = _read(chat_template) if chat_template else None
    common: dict[str, Any] = {
        "revision": revision,
        "dtype": dtype,
        "chat_template": template,
        "enable_thinking": enable_thinking,
        "options": options,
    }
    if name == "vllm":
        if is_adapter(model):
            raise UserError(f"the vllm engine does not serve low-rank adapters: use --engine transformers for {model}")
        from expo_bench.engines.vllm import VllmEngine

        return VllmEngine(model, **common)
    from expo_bench.engines.transformers import TransformersEngine

    return TransformersEngine(model, **common)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"chat template {path} cannot be read: {error}") from error
