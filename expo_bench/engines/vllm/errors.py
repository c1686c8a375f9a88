"""What vLLM says when it fails, in one line, with the options that help."""

import multiprocessing
import multiprocessing.connection
import textwrap
import threading
from typing import Any

from pydantic import ValidationError

from expo_bench.errors import EngineFailedError, UserError

_LONGEST_REASON = 300
"""Characters: vLLM lists all methods of quantisation that it knows."""
_OF_MEMORY = ("gpu_memory_utilization", "kv cache", "free memory")
_ELSEWHERE = "root cause"
"""In what vLLM says when another of its processes failed, whose own words it has logged."""
_ADVICE = (
    "where memory ran out: engine_options.max_model_len=N and engine_options.max_num_seqs=N need less the smaller they "
    "are, engine_options.gpu_memory_utilization=SHARE must fit what is free on the GPU, on a CPU "
    "VLLM_CPU_KVCACHE_SPACE (GiB) what is free there"
)


def short_reason(error: Exception) -> str:
    """Return in one line what vLLM says of an error."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").strip().splitlines()
        line = f"{place}: {said[0]}" if place else said[0]
    else:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return textwrap.shorten(line, _LONGEST_REASON, placeholder=" ...")


def load_failure(name: str, error: Exception) -> UserError:
    """Return the error for a model that vLLM does not load."""
    # torch is not needed where nothing fails
    from expo_bench.engines.memory import is_out_of_memory

    text = str(error).lower()
    is_memory = is_out_of_memory(error) or _ELSEWHERE in text or any(word in text for word in _OF_MEMORY)
    advice = f"; {_ADVICE}" if is_memory else ""
    return UserError(f"vLLM cannot load {name}: {short_reason(error)}{advice}")


def watch(engine: Any) -> None:
    """Have `step` fail where the process of vLLM's scheduler is killed: vLLM (0.32) would wait for its answer forever.

    Args:
        engine: vLLM's `LLMEngine`; nothing is done where its scheduler lies in this process.
    """
    schedulers = [one for one in multiprocessing.active_children() if one.name.startswith("EngineCore")]
    answers = getattr(engine.engine_core, "outputs_queue", None)
    if answers is None or not schedulers:
        return

    def wait() -> None:
        multiprocessing.connection.wait([one.sentinel for one in schedulers])
        answers.put(RuntimeError("the process of its scheduler ended"))

    threading.Thread(target=wait, daemon=True).start()


def step(engine: Any) -> Any:
    """Return the outputs of one step of vLLM's `LLMEngine`.

    Raises:
        EngineFailedError: vLLM failed; its processes are gone or not to be trusted.
    """
    try:
        return engine.step()
    # EngineDeadError, or from a worker process a bare RuntimeError
    except Exception as error:
        raise EngineFailedError(
            f"vLLM failed ({type(error).__name__}: {short_reason(error)}), its own words stand above; what is done is "
            f"saved, the same command goes on; {_ADVICE}"
        ) from error
