"""Options that reach the real vLLM: what they change, and how one that it refuses is told."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Continuation, SamplingParams, ScoreRequest
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.engines.vllm.engine import VllmEngine
from expo_bench.errors import UserError
from tests.real.conftest import QUESTIONS, question

pytestmark = pytest.mark.real

GREEDY = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=48)
REQUESTS = [question(text, text, chat=False) for text in QUESTIONS]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with random weights in the micro model's shape, but four heads: half of them is a whole number."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    import expo_bench

    micro = Path(expo_bench.__file__).parent / "assets" / "micro"
    folder = tmp_path_factory.mktemp("tiny")
    config = AutoConfig.from_pretrained(micro)
    config.num_attention_heads = config.num_key_value_heads = 4
    config.hidden_size = 4 * config.head_dim
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(micro).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def expected(tiny: str) -> tuple[dict[str, Completion], np.ndarray]:
    """The transformers engine's greedy texts, and its log-probabilities of them, one after the other."""
    engine = TransformersEngine(EngineSpec(model=tiny, dtype="float32"))
    texts = {c.problem_id: c for c in engine.generate(REQUESTS, GREEDY)}
    found = texts, logprobs(engine, texts)
    engine.close()
    return found


def logprobs(engine: Any, texts: dict[str, Completion]) -> np.ndarray:
    asked: Sequence[ScoreRequest] = [
        ScoreRequest(
            problem_id=request.problem_id,
            messages=request.messages,
            continuations=(Continuation(key="a", token_ids=texts[request.problem_id].token_ids or ()),),
            chat=False,
        )
        for request in REQUESTS
    ]
    scored = {one.problem_id: one.logprobs for one in engine.score(asked)}
    return np.concatenate([scored[request.problem_id] for request in REQUESTS])


def test_tensor_parallel(
    tiny: str, vllm_here: None, expected: tuple[dict[str, Completion], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the CPU build wants to be told which cores each process has, where there are fewer NUMA nodes than processes
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
    engine = VllmEngine(EngineSpec(model=tiny, dtype="float32", engine_options={"tensor_parallel_size": 2}))
    texts, values = expected
    assert logprobs(engine, texts) == pytest.approx(values, abs=1e-3)
    described = engine.describe()
    assert (described["tensor_parallel_size"], described["prefix_caching"]) == (2, True)
    engine.close()


def test_speculation_changes_no_greedy_text(
    tiny: str, vllm_here: None, expected: tuple[dict[str, Completion], np.ndarray]
) -> None:
    guesses = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3, "prompt_lookup_min": 1}
    engine = VllmEngine(EngineSpec(model=tiny, dtype="float32", engine_options={"speculative_config": guesses}))
    drawn = {c.problem_id: c for c in engine.generate(REQUESTS, GREEDY)}
    assert {key: c.token_ids for key, c in drawn.items()} == {key: c.token_ids for key, c in expected[0].items()}
    assert engine.describe()["speculation"] == "ngram"
    engine.close()


@pytest.fixture(scope="module")
def eight_bits(real_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The real model with 8-bit weights, a scale for each row, as the format compressed-tensors has them."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("eight-bits")
    shutil.copytree(real_model, folder, dirs_exist_ok=True)
    found = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        found[name] = weight
        if name.endswith("proj.weight"):
            scale = weight.float().abs().amax(1, keepdim=True) / 127
            found[name] = (weight.float() / scale).round().to(torch.int8)
            found[f"{name}_scale"] = scale.to(torch.bfloat16)
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    numbers = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {
        "targets": ["Linear"],
        "weights": {**numbers, "strategy": "channel", "dynamic": False},
        "input_activations": {**numbers, "strategy": "token", "dynamic": True},
    }
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed",
        "ignore": ["lm_head"], "config_groups": {"group_0": group},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_a_quantised_model_is_near_to_the_whole_one(real_model: str, eight_bits: str, vllm_here: None) -> None:
    engine = VllmEngine(EngineSpec(model=eight_bits))
    assert engine.describe()["quantization"] == "compressed-tensors"
    texts = {c.problem_id: c for c in engine.generate(REQUESTS, GREEDY)}
    quantised = logprobs(engine, texts)
    engine.close()
    whole = TransformersEngine(EngineSpec(model=real_model))
    differences = np.abs(quantised - logprobs(whole, texts))
    whole.close()
    print(f"{len(differences)} tokens: mean {differences.mean():.3f}, largest {differences.max():.3f}")
    assert 0.001 < differences.mean() < 0.2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tensor_parallel_size": 3}, r"heads \(4\) must be divisible by tensor parallel size \(3\)"),
        ({"tensor_parallel_size": "two"}, "tensor_parallel_size: Input should be a valid integer"),
        ({"quantization": "nope"}, "quantization"),
        ({"speculative_config": {"method": "nope"}}, "method"),
        ({"max_model_len": 10**6}, "max_model_len"),
        ({"num_gpu_blocks_override": 1}, "where memory ran out: engine_options.max_model_len=N"),
    ],
)
def test_what_vllm_refuses(tiny: str, vllm_here: None, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        VllmEngine(EngineSpec(model=tiny, engine_options=options))
    assert "\n" not in str(caught.value)
    print(caught.value)
