"""All ways to write an answer under a real model: the engine's sums against a walk over every sequence of tokens."""

import math
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Continuation, Message, ScoreRequest
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.engines.vocabulary import Vocabulary
from expo_bench.likelihood.answer_slots import OPENING, SlotScore
from tests.likelihood.small_tokenizers import small

QUESTION: Message = {"role": "user", "content": "Which?"}


@pytest.fixture(scope="module", params=["qwen", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, larger than usual, so that it prefers some ways to write a text to others."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = small(request.param)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 5, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        initializer_range=0.5, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@torch.inference_mode()
def begins(model: LlamaForCausalLM, vocabulary: Vocabulary, ids: list[int], text: bytes) -> float:
    """The probability that what follows the ids begins with the text."""
    probabilities = model(torch.tensor([ids])).logits[0, -1].softmax(-1).tolist()
    total = 0.0
    for token, written in vocabulary.texts.items():
        if written.startswith(text):
            total += probabilities[token]
        elif text.startswith(written):
            total += probabilities[token] * begins(model, vocabulary, [*ids, token], text[len(written) :])
    return total


@pytest.mark.parametrize(("chain", "answer"), [("so \\(", "18"), ("is ", "x^2"), ("", "\\frac")])
def test_sums_over_all_ways_to_write_an_answer(model: Path, chain: str, answer: str) -> None:
    engine = TransformersEngine(EngineSpec(model=str(model), engine_options={"device": "cpu"}))
    slot = SlotScore("s", engine, chain, answer, None)
    more = True
    while more:
        parts = tuple(slot.continuations())
        request = ScoreRequest(problem_id="p", messages=(QUESTION,), continuations=parts, chat=False)
        for scored in engine.score([request]):
            slot.take(scored)
        more = slot.go_on()
    reference = LlamaForCausalLM.from_pretrained(model).eval()
    tokenizer = small("qwen" if "qwen" in model.name else "gpt2")
    vocabulary = Vocabulary.of(tokenizer)
    *before, last = engine.tokenize(chain + OPENING)[:-1]
    rest = vocabulary.texts[last]
    ids = [*prompt_ids(tokenizer, request), *before]
    expected = math.log(begins(reference, vocabulary, ids, rest + answer.encode() + b"}")) - math.log(
        begins(reference, vocabulary, ids, rest)
    )
    engine.close()
    assert slot.slack < 2e-3
    assert slot.answer_logprob == pytest.approx(expected, abs=slot.slack + 1e-4)


def test_a_branch_sees_the_whole_vocabulary() -> None:
    engine = TransformersEngine(EngineSpec(model="micro", engine_options={"device": "cpu"}))
    ids = engine.tokenize("3 + 4 = 7")[:-1]
    text = b"".join(engine.token_texts(ids))
    parts = (
        Continuation(key="plain", token_ids=ids),
        Continuation(key="text", token_ids=ids, given=2, text=text[len(b"3 + ") :], marks=(2, len(text) - 4)),
    )
    request = ScoreRequest(
        problem_id="p", messages=({"role": "user", "content": "Compute 3 + 4."},), continuations=parts
    )
    by_key = {scored.key: scored for scored in engine.score([request])}
    engine.close()
    assert by_key["plain"].branches == ()
    branches = by_key["text"].branches
    assert len(branches) == len(ids) - 2
    for branch, token, logprob in zip(branches, ids[2:], by_key["plain"].logprobs[2:], strict=True):
        # one way to write it: the token that stands there goes on, or ends the text
        found = [value for other, _, value in branch.inside if other == token] or [branch.ends[-1]]
        assert found == pytest.approx([logprob], abs=1e-5)
    assert branches[0].ends == pytest.approx((by_key["plain"].logprobs[2], -math.inf), abs=1e-5)
