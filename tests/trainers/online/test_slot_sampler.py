"""Rollouts in training when memory runs out."""

import pytest
import torch

from expo_bench.engines.base import SamplingParams
from expo_bench.engines.loading import find_model, load_model
from expo_bench.errors import UserError
from expo_bench.trainers.online import slot_sampler
from expo_bench.trainers.online.slot_sampler import Draw, SlotSampler

DRAWS = [Draw(prompt_ids=[5, 6, 7], seeds=(1, 2, 3, 4))]


def sampler() -> SlotSampler:
    return SlotSampler(frozenset({0}), SamplingParams(temperature=1.0, top_p=1.0, max_tokens=6))


@pytest.mark.parametrize("most", [0, 2])
def test_a_rollout_that_does_not_fit_is_never_an_empty_one(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """`most` rows fit into the memory at once."""
    model = load_model(find_model("micro"), "float32", "cpu")
    attention = model.config._attn_implementation
    expected = sampler().draw(model, DRAWS)
    next_logits = slot_sampler.next_logits

    def scarce(model, ids, positions, slots):
        # a prompt is computed as one row, its rollouts one row each
        if len(ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return next_logits(model, ids, positions, slots)

    monkeypatch.setattr(slot_sampler, "next_logits", scarce)
    if most:
        found = sampler().draw(model, DRAWS)
        assert [one.token_ids for one in found[0]] == [one.token_ids for one in expected[0]]
        return
    with pytest.raises(UserError, match="a rollout cannot be drawn: out of memory"):
        sampler().draw(model, DRAWS)
    assert model.config._attn_implementation == attention
