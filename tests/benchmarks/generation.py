"""Tokens a second of the transformers engine against lm-evaluation-harness's `hf` backend, on the same prompts.

SmolLM2-135M-Instruct in bfloat16, 16 prompts x 8 samples x up to 128 tokens at temperature 1. The harness repeats a
request for each sample, at the batch size that is best for it on this machine (the first round tries several).
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from expo_bench import problems
from expo_bench.config import EngineSpec
from expo_bench.engines.base import Request, SamplingParams
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.prompts import BOXED
from tests.benchmarks.figures import Figure, against, ratios

MODEL = os.environ.get("EXPO_BENCH_REAL_MODEL", str(Path(".cache/SmolLM2-135M-Instruct").resolve()))
SAMPLES = 8
MAX_TOKENS = 128
ROUNDS = 3
BATCH_SIZES = (16, 32, 64)


def benchmark() -> str:
    """Return MATH-500 where EXPO_BENCH_DATA has it, else the micro world."""
    return "math500" if os.environ.get("EXPO_BENCH_DATA") else "micro"


def requests() -> list[Request]:
    """Return the prompts."""
    return asked_for(benchmark(), 16, SAMPLES)


def asked_for(name: str, n_problems: int, n_samples: int) -> list[Request]:
    """Return so many samples of the first problems of a benchmark."""
    return [
        Request(
            problem_id=problem.problem_id,
            messages=BOXED.messages(problem),
            sample_indexes=tuple(range(n_samples)),
            seeds=tuple(range(number * n_samples, (number + 1) * n_samples)),
        )
        for number, problem in enumerate(problems.load(name).problems[:n_problems])
    ]


def ours(engine: TransformersEngine) -> float:
    begin = time.perf_counter()
    params = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=MAX_TOKENS)
    tokens = sum(done.n_tokens for done in engine.generate(requests(), params))
    return tokens / (time.perf_counter() - begin)


def theirs(model: Any, prompts: list[str], repeats: int = SAMPLES) -> float:
    from lm_eval.api.instance import Instance

    settings = {"until": ["<|im_end|>"], "max_gen_toks": MAX_TOKENS, "do_sample": True, "temperature": 1.0}
    instances = [
        Instance(request_type="generate_until", doc={}, arguments=(prompt, dict(settings)), idx=number)
        for number, prompt in enumerate(prompts)
        for _ in range(repeats)
    ]
    begin = time.perf_counter()
    texts = model.generate_until(instances, disable_tqdm=True)
    seconds = time.perf_counter() - begin
    # the harness tells no counts: what it decoded is counted again, and the end of sequence once for each that has one
    tokens = [len(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    return sum(min(count + 1, MAX_TOKENS) for count in tokens) / seconds


def measure() -> list[Figure]:
    from lm_eval.models.huggingface import HFLM

    engine = TransformersEngine(EngineSpec(model=MODEL, dtype="bfloat16"))
    prompts = [engine._tokenizer.decode(prompt_ids(engine._tokenizer, request)) for request in requests()]
    backend = HFLM(pretrained=MODEL, dtype="bfloat16", device=engine.device, batch_size=1)
    speeds = {}
    for size in BATCH_SIZES:
        backend.batch_size_per_gpu = size
        speeds[size] = theirs(backend, prompts)
        print(f"lm-evaluation-harness at batch {size}: {speeds[size]:.0f} tokens/s", file=sys.stderr, flush=True)
    backend.batch_size_per_gpu = max(speeds, key=lambda size: speeds[size])
    ours(engine)
    mine, other = zip(*[(ours(engine), theirs(backend, prompts)) for _ in range(ROUNDS)], strict=True)
    return [
        Figure(
            what="speed of the transformers engine",
            yardstick=f"lm-evaluation-harness 0.4.13 hf, batch {backend.batch_size_per_gpu}",
            ratios=ratios(mine, other),
            absolute=against(mine, other, "tokens/s"),
            goal="at least 2",
        )
    ]
