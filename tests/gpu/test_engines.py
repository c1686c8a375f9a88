"""Engines on CUDA against the same policy on the CPU: texts, log-probabilities, memory that runs out, speed."""

import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Continuation, Request, SamplingParams, Scored, ScoreRequest
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.problems import micro
from expo_bench.prompts import BOXED

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

GREEDY = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=48)
WARM = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=48)
CHAINS = ("3 + 4 = 7. \\boxed{7}", "8 * 2 = 16. \\boxed{16}", "1. \\boxed{1}")
# nats a token; half precision rounds a logit of 20 to about 0.06
MOST = {"float32": 1e-3, "bfloat16": 0.15}


def questions(n: int, samples: int = 1) -> list[Request]:
    return [
        Request(
            problem_id=one.problem_id,
            messages=BOXED.messages(one),
            sample_indexes=tuple(range(samples)),
            seeds=tuple(range(number * samples, (number + 1) * samples)),
        )
        for number, one in enumerate(micro.load("test")[:n])
    ]


def chains(engine: Any, n: int) -> list[ScoreRequest]:
    continuations = tuple(Continuation(key=text, token_ids=engine.tokenize(text)) for text in CHAINS)
    return [
        ScoreRequest(problem_id=one.problem_id, messages=one.messages, continuations=continuations)
        for one in questions(n)
    ]


def drawn(engine: Any, asked: list[Request], params: SamplingParams) -> dict[tuple[str, int], Completion]:
    return {(one.problem_id, one.sample_index): one for one in engine.generate(asked, params)}


def scored(engine: Any, asked: list[ScoreRequest]) -> dict[tuple[str, str], Scored]:
    return {(one.problem_id, one.key): one for one in engine.score(asked)}


@pytest.fixture(scope="module")
def reference() -> TransformersEngine:
    """The policy in float32 on the CPU."""
    return TransformersEngine(EngineSpec(model="micro", dtype="float32", engine_options={"device": "cpu"}))


def open_on_gpu(engine: str, dtype: Any) -> Any:
    """Open one of the engines that run here; skipped where what it needs is not installed."""
    if engine == "transformers":
        return TransformersEngine(EngineSpec(model="micro", dtype=dtype, engine_options={"device": "cuda"}))
    if engine == "vllm":
        pytest.importorskip("vllm")
        from expo_bench.engines.vllm.engine import VllmEngine

        return VllmEngine(
            EngineSpec(model="micro", dtype=dtype, engine_options={"max_model_len": 256, "gpu_memory_utilization": 0.3})
        )
    pytest.importorskip("ray")
    from expo_bench.engines.replicas.engine import ReplicaEngine

    spec = EngineSpec(model="micro", dtype=dtype, replicas=1)
    return ReplicaEngine(spec, lambda: TransformersEngine(spec))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["transformers", "vllm", "replicas"])
def test_engine_agrees_with_the_cpu(name: str, dtype: str, reference: TransformersEngine) -> None:
    engine = open_on_gpu(name, dtype)
    try:
        asked = questions(12)
        got, expected = drawn(engine, asked, GREEDY), drawn(reference, asked, GREEDY)
        same = [got[key].text == expected[key].text for key in expected]
        # half precision may turn a tie, and then the rest of the text
        assert all(same) if dtype == "float32" else np.mean(same) > 0.7
        found, wanted = scored(engine, chains(engine, 6)), scored(reference, chains(reference, 6))
        assert set(found) == set(wanted)
        for key, one in wanted.items():
            assert np.abs(found[key].logprobs - one.logprobs).mean() < MOST[dtype]
        own = drawn(engine, questions(4, 8), WARM)
        assert len({one.text for one in own.values()}) > 4
        assert all(one.sum_logprob is not None and one.sum_logprob <= 0 for one in own.values())
    finally:
        engine.close()


def test_memory_that_runs_out_halves_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    engine = TransformersEngine(EngineSpec(model="micro", engine_options={"device": "cuda", "batch_size": 1 << 16}))
    asked = questions(8, 4096)
    free, total = torch.cuda.mem_get_info()
    # room for a part of the 32,768 samples: a slot takes 3 layers x 2 x 96 x 4 bytes a position
    torch.cuda.set_per_process_memory_fraction(min(0.9 * free, 400 << 20) / total)
    try:
        with caplog.at_level(logging.WARNING):
            got = drawn(engine, asked, WARM)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        engine.close()
    assert "out of memory: going on with" in caplog.text
    assert len(got) == 8 * 4096 and all(one.error is None for one in got.values())


def test_speed_against_generate(capsys: pytest.CaptureFixture[str]) -> None:
    """The engine draws more tokens a second than `generate` of transformers; the table goes to standard output."""
    model = os.environ.get("EXPO_BENCH_REAL_MODEL") or "micro"
    engine = TransformersEngine(EngineSpec(model=model, engine_options={"device": "cuda"}))
    asked = questions(16, 8)
    rows = [("samples at once", "engine, tokens/s", "generate, tokens/s")]
    for size in (1, 16, 128):
        engine.batch_size = size
        part = asked[: max(1, size // 8)] if size > 1 else questions(1)
        rows.append((str(size), f"{_engine_speed(engine, part):.0f}", f"{_generate_speed(engine, part):.0f}"))
    engine.close()
    with capsys.disabled():
        print(f"\n{Path(model).name}, {torch.cuda.get_device_name()}")
        print("\n".join(" | ".join(row) for row in rows))
    assert float(rows[-1][1]) > float(rows[-1][2])


def _engine_speed(engine: TransformersEngine, asked: list[Request]) -> float:
    speeds = []
    for _ in range(2):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        tokens = sum(one.n_tokens for one in engine.generate(asked, WARM))
        speeds.append(tokens / (time.perf_counter() - begun))
    return speeds[-1]


def _generate_speed(engine: TransformersEngine, asked: list[Request]) -> float:
    """The library's own loop on the same weights, rows padded on the left; only tokens before the end count."""
    from transformers import AutoModelForCausalLM

    from expo_bench.engines.rendering import prompt_ids

    tokenizer = engine._tokenizer
    model = AutoModelForCausalLM.from_pretrained(engine._files.path, dtype=engine._model.dtype).to("cuda")
    rows = [prompt_ids(tokenizer, one) for one in asked for _ in one.seeds]
    batch = tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt").to("cuda")
    speeds = []
    for _ in range(2):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        out = model.generate(**batch, do_sample=True, top_k=0, max_new_tokens=WARM.max_tokens)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
        written = out[:, batch["input_ids"].shape[1] :]
        ends = torch.tensor(sorted(engine._ends), device=written.device)
        before = torch.isin(written, ends).cumsum(1).eq(0).sum(1)
        speeds.append(int((before + 1).clamp(max=written.shape[1]).sum()) / seconds)
    return speeds[-1]
