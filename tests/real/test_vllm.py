"""SmolLM2-135M-Instruct through the vLLM engine."""

from collections.abc import Iterator

import pytest

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.engines.loading import fast_dtype, find_model
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.vllm.engine import VllmEngine
from tests.real.conftest import question

pytestmark = pytest.mark.real

SAMPLING = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=32)
# bfloat16 keeps 8 bits of a logit: the sums were seen to differ by up to 0.01 nats a token
NATS_PER_TOKEN = 0.03
Drawn = dict[tuple[str, int], Completion]


@pytest.fixture(scope="module")
def engine(real_model: str, vllm_here: None) -> Iterator[VllmEngine]:
    subject = VllmEngine(EngineSpec(model=real_model, engine_options={"max_model_len": 512}))
    yield subject
    subject.close()


def draw(engine: VllmEngine, requests: list[Request], params: SamplingParams = SAMPLING) -> Drawn:
    got = list(engine.generate(requests, params))
    by_key = {(completion.problem_id, completion.sample_index): completion for completion in got}
    assert len(by_key) == len(got)
    return by_key


@pytest.fixture(scope="module")
def drawn(engine: VllmEngine, real_requests: list[Request]) -> Drawn:
    return draw(engine, real_requests)


def test_keys_are_exact(drawn: Drawn, real_requests: list[Request]) -> None:
    assert set(drawn) == {(request.problem_id, index) for request in real_requests for index in (0, 1)}
    for completion in drawn.values():
        assert completion.finish_reason in ("stop", "length")
        assert completion.token_ids is not None
        assert len(completion.token_ids) == completion.n_tokens <= 32
        assert (completion.n_tokens == 32) or completion.finish_reason == "stop"
        assert "<|im_end|>" not in completion.text


def test_seeds_give_the_same_samples_again(engine: VllmEngine, drawn: Drawn, real_requests: list[Request]) -> None:
    assert {key: c.token_ids for key, c in draw(engine, real_requests).items()} == {
        key: c.token_ids for key, c in drawn.items()
    }
    assert len({c.text for c in drawn.values()}) == len(drawn), "two seeds gave the same text"


def test_greedy(engine: VllmEngine, real_requests: list[Request]) -> None:
    got = draw(engine, real_requests, SamplingParams(temperature=0.0, top_p=1.0, max_tokens=32))
    for request in real_requests:
        assert got[request.problem_id, 0].token_ids == got[request.problem_id, 1].token_ids
    assert "2" in got["p0", 0].text


def test_end_of_turn_stops(engine: VllmEngine, real_requests: list[Request]) -> None:
    got = draw(engine, real_requests[:1], SamplingParams(temperature=0.0, top_p=1.0, max_tokens=100))
    assert [(c.finish_reason, (c.token_ids or (0,))[-1]) for c in got.values()] == [("stop", 2)] * 2


def test_stop_string_is_cut_off(engine: VllmEngine, real_requests: list[Request]) -> None:
    got = draw(engine, real_requests, SamplingParams(temperature=1.0, top_p=1.0, max_tokens=64, stop=(" the", ".")))
    assert not [c.text for c in got.values() if " the" in c.text or "." in c.text]
    assert {c.finish_reason for c in got.values()} >= {"stop"}


def test_prompt_that_is_too_long_and_one_that_leaves_little_room(engine: VllmEngine) -> None:
    texts = {"fits": "one two", "tight": " a" * 500, "long": " a" * 600}
    requests = [question(name, text, chat=False) for name, text in texts.items()]
    got = {c.problem_id: c for c in engine.generate(requests, SamplingParams(temperature=1, top_p=1, max_tokens=40))}
    assert {name: c.finish_reason == "error" for name, c in got.items()} == {
        "fits": False,
        "tight": False,
        "long": True,
    }
    assert got["tight"].n_tokens <= 12
    assert "context" in str(got["long"].error)


def test_seeded_prompts_beyond_one_prefill_batch(engine: VllmEngine) -> None:
    # more prompt tokens than vLLM takes in one step: cut into two steps, a seeded prompt would end the CPU engine
    text = "one two three four five six seven eight nine ten " * 30
    requests = [question(f"p{i}", f"{i} {text}", (i,)) for i in range(20)]
    got = list(engine.generate(requests, SamplingParams(temperature=1.0, top_p=1.0, max_tokens=2)))
    assert [c.finish_reason == "error" for c in got] == [False] * 20


def test_sum_logprob_is_that_of_a_full_forward_pass(
    real_model: str, engine: VllmEngine, real_requests: list[Request]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real_model)
    model = AutoModelForCausalLM.from_pretrained(real_model, dtype=torch.float32)
    # another temperature and a cut distribution: neither may enter the likelihood
    got = draw(engine, real_requests, SamplingParams(temperature=0.6, top_p=0.8, max_tokens=32))
    for request in real_requests:
        prompt = prompt_ids(tokenizer, request)
        for index in request.sample_indexes:
            completion = got[request.problem_id, index]
            tokens = list(completion.token_ids or ())
            with torch.inference_mode():
                logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
            expected = logits.log_softmax(-1)[range(len(tokens)), tokens].sum().item()
            assert completion.sum_logprob is not None
            assert completion.sum_logprob < 0
            assert completion.sum_logprob == pytest.approx(expected, abs=NATS_PER_TOKEN * len(tokens))


def test_the_gauge_tells_what_is_written(engine: VllmEngine, real_requests: list[Request]) -> None:
    seen = [
        (engine.gauge.running, engine.gauge.tokens)
        for _ in engine.generate(real_requests, SamplingParams(temperature=1.0, top_p=1.0, max_tokens=64))
    ]
    assert all(running < len(seen) for running, _ in seen)
    assert any(tokens > running > 0 for running, tokens in seen) and seen[-1] == (0, 0)


def test_description(engine: VllmEngine, real_model: str) -> None:
    described = engine.describe()
    dtype = fast_dtype(find_model(real_model), "auto", "cpu")
    assert (described["engine"], described["dtype"], described["name"]) == ("vllm", dtype, real_model)
    assert described["weights_digest"]
