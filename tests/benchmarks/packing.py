"""Tokens a second of the transformers engine in bfloat16 on a processor, weights laid out once or at every product.

The same prompts and seeds as `generation`, few samples at once, as the steps of training draw. Without the processor's
operators both sides do the same.
"""

import time
from contextlib import ExitStack
from itertools import islice

from expo_bench.config import EngineSpec
from expo_bench.engines.base import SamplingParams
from expo_bench.engines.transformers.engine import TransformersEngine
from tests.benchmarks.figures import Figure, against, ratios
from tests.benchmarks.generation import MODEL, asked_for, benchmark

AT_ONCE = (16, 8)
ROUNDS = 3
PARAMS = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=48)


def drawn(engine: TransformersEngine, *, once: bool) -> float:
    """Return the tokens a second of 32 samples, without the time of laying out."""
    if engine._packed:
        engine._packed.close()
    engine._packed = None if once else ExitStack()
    list(islice(engine.generate(asked_for(benchmark(), 1, 1), PARAMS), 1))
    begin = time.perf_counter()
    tokens = sum(done.n_tokens for done in engine.generate(asked_for(benchmark(), 4, 8), PARAMS))
    return tokens / (time.perf_counter() - begin)


def measure() -> list[Figure]:
    engine = TransformersEngine(EngineSpec(model=MODEL, dtype="bfloat16"))
    found = []
    for size in AT_ONCE:
        engine.batch_size = size
        mine, other = zip(*[(drawn(engine, once=True), drawn(engine, once=False)) for _ in range(ROUNDS)], strict=True)
        found.append(
            Figure(
                what=f"speed of sampling in bfloat16, {size} samples at once",
                yardstick="the same engine, weights laid out at every product",
                ratios=ratios(mine, other),
                absolute=against(mine, other, "tokens/s"),
            )
        )
    return found
