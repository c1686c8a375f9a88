"""What vLLM is given when it loads a model: the user's options over ours."""

import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from expo_bench.engines.loading import ModelFiles, fast_dtype
from expo_bench.errors import UserError

# what the engine sets itself: `sum_logprob` needs the raw mode, and a checkpoint's own code is never run
_RESERVED = {"model", "tokenizer", "revision", "tokenizer_revision", "dtype", "trust_remote_code", "logprobs_mode"}
_DEFAULTS: dict[str, Any] = {"enable_prefix_caching": True, "load_format": "safetensors"}
_CPU_DEFAULTS: dict[str, Any] = {
    "enforce_eager": True,
    # a seeded request whose prefill is cut in two makes vLLM 0.32 rewind its generator, which a CPU generator cannot do
    "enable_chunked_prefill": False,
    # only whole blocks are shared: the CPU default of 128 tokens is longer than most prompts
    "block_size": 32,
    # with the scheduler in this process (see vllm._CPU_ENVIRONMENT) vLLM would else leave one thread to the model
    "distributed_executor_backend": "mp",
}


def check_early(options: Mapping[str, Any]) -> None:
    """Refuse what needs no vLLM to be refused.

    Raises:
        UserError: an option that this engine sets itself, or data parallelism.
    """
    if clash := _RESERVED & set(options):
        raise UserError(f"engine_options.{min(clash)} cannot be set: this engine sets it from what it is given")
    if options.get("data_parallel_size", 1) != 1:
        raise UserError(
            "engine_options.data_parallel_size: vLLM splits data among servers only, not in an engine of one process; "
            "use --replicas N for N engines, or serve the model (vllm serve MODEL -dp N) and give its URL"
        )


def resolved(vllm: Any, options: Mapping[str, Any], *, on_cpu: bool) -> dict[str, Any]:
    """Return the arguments of `vllm.LLM`: the user's options over the defaults.

    Raises:
        UserError: vLLM has no such option, or its CPU build cannot do what it asks for.
    """
    if on_cpu and options.get("pipeline_parallel_size", 1) != 1:
        # seen with 0.32: the scheduler does not know the requests that the last stage answers
        raise UserError(
            "engine_options.pipeline_parallel_size: vLLM's CPU build fails with it; use tensor_parallel_size"
        )
    known = {field.name for field in dataclasses.fields(vllm.EngineArgs)} | set(inspect.signature(vllm.LLM).parameters)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; is {near[0]} meant?" if near else ""
            raise UserError(f"engine_options.{name}: vLLM {vllm.__version__} has no such option{hint}")
    return {**_DEFAULTS, **(_CPU_DEFAULTS if on_cpu else {}), **options}


def cpu_dtype(files: ModelFiles, dtype: str) -> str:
    """Return the type that weights are held in on a processor.

    vLLM's own "auto" is the checkpoint's type. Half precision is many times slower than float32 on processors without
    instructions for it, which are most. What is quantised is left to vLLM.
    """
    from transformers import AutoConfig

    if dtype != "auto":
        return dtype
    try:
        config = AutoConfig.from_pretrained(files.path, revision=files.revision, trust_remote_code=False)
    except (OSError, ValueError):
        # a model that vLLM alone knows, or a damaged one, of which it tells
        return dtype
    return dtype if hasattr(config, "quantization_config") else fast_dtype(files, dtype, "cpu")
