"""The transformers and the vLLM engine score the same tokens alike."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Continuation, Scored, Scorer, ScoreRequest
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.engines.vllm.engine import VllmEngine

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("EXPO_BENCH_DATA"), reason="EXPO_BENCH_DATA names no folder"),
]

MOST_TOKENS = 300
CHAINS = 50


def requests_of(engine: Scorer) -> list[ScoreRequest]:
    lines = (Path(os.environ["EXPO_BENCH_DATA"]) / "math500.jsonl").read_text("utf-8").splitlines()
    hard = [row for row in map(json.loads, lines) if int(row["level"]) in (4, 5)][:CHAINS]
    return [
        ScoreRequest(
            problem_id=str(place),
            messages=({"role": "user", "content": row["problem"]},),
            continuations=(Continuation(key="expert", token_ids=engine.tokenize(row["solution"])[:MOST_TOKENS]),),
        )
        for place, row in enumerate(hard)
    ]


def scores_of(engine: TransformersEngine | VllmEngine) -> tuple[list[ScoreRequest], dict[str, Scored]]:
    try:
        requests = requests_of(engine)
        return requests, {scored.problem_id: scored for scored in engine.score(requests)}
    finally:
        engine.close()


@pytest.mark.parametrize(("dtype", "most_a_token", "most_a_chain"), [("bfloat16", 0.05, 0.02), ("float32", 1e-3, 1e-3)])
def test_engines_agree(real_model: str, vllm_here: None, dtype: Any, most_a_token: float, most_a_chain: float) -> None:
    requests, expected = scores_of(TransformersEngine(EngineSpec(model=real_model, dtype=dtype)))
    others, got = scores_of(
        VllmEngine(EngineSpec(model=real_model, dtype=dtype, engine_options={"max_model_len": 1024}))
    )
    assert others == requests
    assert set(got) == set(expected)
    assert len(got) == CHAINS
    differences = []
    for request in requests:
        ours, theirs = expected[request.problem_id], got[request.problem_id]
        assert theirs.error is None
        assert theirs.token_ids == ours.token_ids == request.continuations[0].token_ids
        assert theirs.entropies is None
        differences.append(theirs.logprobs.astype(np.float64) - ours.logprobs)
    a_token = np.abs(np.concatenate(differences))
    a_chain = np.abs([chain.mean() for chain in differences])
    print(
        f"{dtype}: {len(a_token)} tokens, mean |difference| {a_token.mean():.2g} a token, largest {a_token.max():.2g}; "
        f"of a chain's mean: mean {a_chain.mean():.2g}, largest {a_chain.max():.2g}"
    )
    assert a_token.mean() <= most_a_token
    assert a_chain.mean() <= most_a_chain
