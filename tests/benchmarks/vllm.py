"""Tokens a second of the vLLM engine against a bare `vllm.LLM.generate`, SmolLM2-135M-Instruct in bfloat16.

16 prompts x 8 samples x up to 128 tokens at temperature 1, the 128 samples as requests of their own. The engine draws a
seed and a log-probability for each; it takes turns, in one process, with three yardsticks:

- "bare": an `LLM` with vLLM's defaults (but eager mode, as ours), neither seeds nor log-probabilities;
- "same object, bare": the engine's own `LLM`, neither seeds nor log-probabilities, so that their price is seen;
- "same object, same work": the engine's own `LLM` with them, so that the price of our own loop is seen.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from expo_bench.config import EngineSpec
from expo_bench.engines.base import SamplingParams
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.vllm.engine import VllmEngine, usable
from tests.benchmarks.figures import Figure, against, ratios
from tests.benchmarks.generation import MAX_TOKENS, MODEL, SAMPLES, requests

ROUNDS = 3


def measure() -> list[Figure]:
    """Return the ratios to the three yardsticks."""
    if not usable():
        raise ImportError("vLLM is not installed for this machine")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    engine = VllmEngine(EngineSpec(model=MODEL, engine_options={"max_model_len": 2048}))
    plain = _default_llm()
    asked = requests()
    prompts = [prompt_ids(engine._tokenizer, request) for request in asked for _ in range(SAMPLES)]
    contestants: dict[str, Callable[[], int]] = {
        "engine": lambda: _ours(engine, asked),
        "bare": lambda: _bare(plain, prompts),
        "same object, bare": lambda: _bare(engine._llm, prompts),
        "same object, same work": lambda: _bare(engine._llm, prompts, same_work=True),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(ROUNDS + 1):
        # another one is first each time, so that none always runs beside the same part of its neighbours' work
        for name in [*contestants][turn % 4 :] + [*contestants][: turn % 4]:
            # or the second to run would find the first one's prompts in the cache
            engine._llm.reset_prefix_cache()
            plain.reset_prefix_cache()
            started = time.perf_counter()
            tokens = contestants[name]()
            speed = tokens / (time.perf_counter() - started)
            print(f"vllm round {turn} {name}: {speed:.0f} tokens/s", file=sys.stderr)
            if turn:
                speeds[name].append(speed)
    engine.close()
    plain.llm_engine.engine_core.shutdown()
    return [_figure(name, speeds["engine"], theirs) for name, theirs in speeds.items() if name != "engine"]


def _figure(yardstick: str, ours: list[float], theirs: list[float]) -> Figure:
    return Figure(
        what="speed of the vllm engine",
        yardstick=f"LLM.generate, {yardstick}",
        ratios=ratios(ours, theirs),
        absolute=against(ours, theirs, "tokens/s"),
        goal="at least 0.95" if yardstick == "bare" else "",
    )


def _default_llm() -> Any:
    from vllm import LLM

    ours = os.environ.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)
    try:
        return LLM(MODEL, dtype="bfloat16", max_model_len=2048, enforce_eager=True)
    finally:
        if ours is not None:
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = ours


def _ours(engine: VllmEngine, asked: Any) -> int:
    params = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=MAX_TOKENS)
    return sum(completion.n_tokens for completion in engine.generate(asked, params))


def _bare(llm: Any, prompts: list[list[int]], same_work: bool = False) -> int:
    from vllm import SamplingParams as VllmParams

    extra: list[dict[str, int]] = [{"seed": seed, "logprobs": 0} if same_work else {} for seed in range(len(prompts))]
    params = [VllmParams(temperature=1.0, max_tokens=MAX_TOKENS, **one) for one in extra]
    inputs: list[Any] = [{"prompt_token_ids": ids} for ids in prompts]
    return sum(len(output.outputs[0].token_ids) for output in llm.generate(inputs, params, use_tqdm=False))
