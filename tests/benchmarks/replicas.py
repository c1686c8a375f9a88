"""Tokens a second of two replicas in Ray against one engine that has both processors; model and start-up not counted.

The micro world's policy, which runs on one thread, and SmolLM2-135M-Instruct, whose products can use both.
"""

import time
from contextlib import closing

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Generator, Request, SamplingParams
from expo_bench.engines.choosing import open_engine
from tests.benchmarks.figures import Figure, against, ratios
from tests.benchmarks.generation import MODEL, asked_for

ROUNDS = 5


def speed(engine: Generator, asked: list[Request], max_tokens: int) -> float:
    params = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=max_tokens)
    begin = time.perf_counter()
    tokens = sum(done.n_tokens for done in engine.generate(asked, params))
    return tokens / (time.perf_counter() - begin)


def compare(name: str, model: str, asked: list[Request], max_tokens: int) -> Figure:
    """Return the figure of one model, turns alternating."""
    two, one = [], []
    spec = EngineSpec(engine="transformers", model=model)
    two_engines = spec.model_copy(update={"replicas": 2})
    with closing(open_engine(two_engines)) as replicas, closing(open_engine(spec)) as alone:
        while len(replicas._pool.idle) < 2:  # type: ignore[attr-defined]
            replicas._next_event()  # type: ignore[attr-defined]
        for _ in range(ROUNDS):
            two.append(speed(replicas, asked, max_tokens))
            one.append(speed(alone, asked, max_tokens))
    return Figure(
        what=f"generation, 2 replicas of {name} on 2 cores",
        yardstick="one engine in this process",
        ratios=ratios(two, one),
        absolute=against(two, one, "tokens/s"),
    )


def measure() -> list[Figure]:
    return [
        compare("the micro policy", "micro", asked_for("micro", 160, 32), 64),
        compare("SmolLM2-135M", MODEL, asked_for("micro", 32, 4), 64),
    ]
