"""The memory that scoring takes beyond the loaded model, with a large vocabulary and a long chain."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from expo_bench.engines.base import Continuation, Scored
from expo_bench.engines.transformers.scoring import score_prompt
from expo_bench.engines.transformers.slots import install

VOCABULARY, TOKENS, PROMPT, CHECKED = 152_000, 8192, (5, 7, 11), (0, 1, 255, 256, 257, 4000, 8191)


def _model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=TOKENS + 8,
    )
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)  # a random model is nearly uniform otherwise
    return model


def _chain() -> tuple[int, ...]:
    return tuple(torch.randint(VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(1)).tolist())


def _score(model: LlamaForCausalLM, ids: tuple[int, ...]) -> Scored:
    (scored,) = score_prompt(model, "p", PROMPT, [Continuation(key="long", token_ids=ids)], 4096)
    return scored


def _resident(field: str) -> int:
    """Return MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) // 1024


def _measure() -> int:
    model = _model()
    install(model)
    _score(model, _chain()[:2])
    Path("/proc/self/clear_refs").write_text("5")
    loaded = _resident("VmRSS")
    _score(model, _chain())
    return _resident("VmHWM") - loaded


@pytest.mark.slow
def test_a_long_chain_over_a_large_vocabulary_takes_less_than_a_gigabyte() -> None:
    # all logits at once would be 4.6 GiB in float32
    done = subprocess.run([sys.executable, __file__], check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    assert int(done.stdout.split()[-1]) < 1024


@pytest.mark.slow
def test_a_long_chain_scores_as_in_float64() -> None:
    model, ids = _model(), _chain()
    with torch.inference_mode():
        whole = model.double().model(torch.tensor([[*PROMPT, *ids[:-1]]])).last_hidden_state[0, len(PROMPT) - 1 :]
        logprobs = torch.stack([functional.linear(whole[at], model.lm_head.weight).log_softmax(-1) for at in CHECKED])
    expected = logprobs.gather(-1, torch.tensor([[ids[at]] for at in CHECKED]))[:, 0]
    entropies = -(logprobs.exp() * logprobs).sum(-1)
    single = model.float()
    install(single)
    scored = _score(single, ids)
    assert len(scored.logprobs) == TOKENS
    torch.testing.assert_close(torch.from_numpy(scored.logprobs)[[*CHECKED]].double(), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.from_numpy(scored.entropies)[[*CHECKED]].double(), entropies, atol=1e-3, rtol=0)


if __name__ == "__main__":
    print(_measure())
