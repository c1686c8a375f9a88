"""Packed weights give what the plain ones give."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import Linear
from transformers import PreTrainedModel

from expo_bench.engines.base import SamplingParams
from expo_bench.engines.transformers import packing
from expo_bench.engines.transformers.packing import packed
from expo_bench.trainers.online.slot_sampler import Draw, SlotSampler
from tests.engines.transformers.test_engine import MODELS

needs_operators = pytest.mark.skipif(not packing._can_pack(), reason="this torch or processor has no such products")
IDS = torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 6, 5]])


def model(name: str, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    torch.manual_seed(1)
    return MODELS[name]().to(dtype).eval()


def is_packed(one: PreTrainedModel) -> bool:
    return any("forward" in layer.__dict__ for layer in one.modules() if isinstance(layer, Linear))


@needs_operators
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_the_same_to_the_last_bit(name: str) -> None:
    one = model(name)
    with torch.no_grad():
        plain = one(IDS).logits
        with packed(one):
            assert is_packed(one)
            assert torch.equal(one(IDS).logits, plain)
        assert not is_packed(one)
        # an optimizer's step in between is seen
        for weight in one.parameters():
            weight.mul_(0.5)
        changed = one(IDS).logits
        with packed(one):
            assert torch.equal(one(IDS).logits, changed) and not torch.equal(changed, plain)


@needs_operators
def test_rollouts_are_drawn_by_packed_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(one: PreTrainedModel) -> list[tuple[int, ...] | None]:
        sampler = SlotSampler(frozenset({1}), SamplingParams(temperature=1.0, top_p=1.0, max_tokens=12))
        [found] = sampler.draw(one, [Draw(prompt_ids=[5, 6, 7], seeds=(1, 2, 3))])
        return [done.token_ids for done in found]

    used = []
    product = packing._product
    monkeypatch.setattr(packing, "_product", lambda *given: used.append(1) or product(*given))
    found = draw(model("qwen2"))
    assert used
    monkeypatch.setattr(packing, "_can_pack", lambda: False)
    assert draw(model("qwen2")) == found


@pytest.mark.parametrize(
    "forbid",
    [
        lambda patch: patch.setattr(packing, "_memory", lambda: 0),
        lambda patch: patch.setattr(packing, "_can_pack", lambda: False),
    ],
    ids=["too large", "no operators"],
)
def test_nothing_is_packed_where_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, forbid: Callable[[pytest.MonkeyPatch], None]
) -> None:
    forbid(monkeypatch)
    one = model("llama")
    with packed(one):
        assert not is_packed(one)


def test_other_types_and_layers_of_others_are_left_alone() -> None:
    one = model("llama", torch.float32)
    with packed(one):
        assert not is_packed(one)
    taken = model("llama")
    layer = next(one for one in taken.modules() if isinstance(one, Linear))
    other = Linear(1, 1).forward
    vars(layer)["forward"] = other  # as accelerate's hooks do
    with packed(taken):
        assert layer.forward is other
    assert layer.forward is other


def test_torch_without_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    packing._can_pack.cache_clear()
    try:
        assert not packing._can_pack()
    finally:
        packing._can_pack.cache_clear()
