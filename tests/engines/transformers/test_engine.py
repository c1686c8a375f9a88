"""The transformers engine against plain forward passes of small random models of three architectures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Continuation, Request, SamplingParams, ScoreRequest
from expo_bench.engines.transformers import prefixes
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.engines.transformers.scoring import score_prompt
from expo_bench.engines.transformers.slots import Slots
from expo_bench.errors import UserError

WORDS = [f"w{index}" for index in range(60)]
COMMON = {"vocab_size": 64, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 2}
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 96, **COMMON}


def _llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2))


def _qwen() -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**SMALL, num_attention_heads=4, num_key_value_heads=1))


def _gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=96, **COMMON))


def _mistral() -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2, sliding_window=7))


MODELS = {"llama": _llama, "qwen2": _qwen, "gpt2": _gpt2, "mistral-window": _mistral}


def _save(folder: Path, model: PreTrainedModel) -> Path:
    vocabulary = {word: index for index, word in enumerate(["<s>", "</s>", "<pad>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", bos_token="<s>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.manual_seed(0)
    model = MODELS[request.param]()
    for parameter in model.parameters():
        parameter.data.mul_(3)  # a random model is nearly uniform otherwise
    yield _save(tmp_path_factory.mktemp(request.param), model)


@pytest.fixture(autouse=True)
def _word_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    # AutoTokenizer takes the tokenizer class from the architecture, and Qwen2's reads no word-level vocabulary
    monkeypatch.setattr(
        "expo_bench.engines.transformers.engine.load_tokenizer",
        lambda files: PreTrainedTokenizerFast.from_pretrained(files.path),
    )


def _requests(n: int = 3, lengths: tuple[int, ...] = (3, 17, 1, 9)) -> list[Request]:
    return [
        Request(
            problem_id=f"p{number}",
            messages=({"role": "user", "content": " ".join(WORDS[number : number + length])},),
            sample_indexes=tuple(range(n)),
            seeds=tuple(100 * number + place for place in range(n)),
        )
        for number, length in enumerate(lengths)
    ]


def _by_key(completions: Iterator[Completion]) -> dict[tuple[str, int], Completion]:
    found = {(one.problem_id, one.sample_index): one for one in completions}
    return dict(sorted(found.items()))


SAMPLED = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=20)


def test_log_probabilities_equal_a_plain_forward_pass(folder: Path) -> None:
    engine = TransformersEngine(EngineSpec(model=str(folder), engine_options={"batch_size": 5}))
    plain = type(engine._model).from_pretrained(folder)
    completions = _by_key(engine.generate(_requests(), SAMPLED))
    assert list(completions) == [(f"p{p}", s) for p in range(4) for s in range(3)]
    for request in _requests():
        prompt = engine._tokenizer(request.messages[0]["content"])["input_ids"]
        for index in request.sample_indexes:
            done = completions[request.problem_id, index]
            assert done.token_ids is not None and done.sum_logprob is not None
            ids = torch.tensor([[*prompt, *done.token_ids]])
            with torch.no_grad():
                logprobs = plain(ids).logits[0].log_softmax(-1)
            first = len(prompt) - 1
            expected = sum(logprobs[first + step, token].item() for step, token in enumerate(done.token_ids))
            assert done.sum_logprob == pytest.approx(expected, abs=1e-4 * len(done.token_ids))
            assert done.finish_reason == ("stop" if done.token_ids[-1] == 1 else "length")


def test_greedy_equals_generate(folder: Path) -> None:
    engine = TransformersEngine(EngineSpec(model=str(folder)))
    plain = type(engine._model).from_pretrained(folder)
    greedy = SamplingParams(temperature=0, top_p=1.0, max_tokens=12)
    for key, done in _by_key(engine.generate(_requests(n=1), greedy)).items():
        prompt = engine._tokenizer(_requests()[int(key[0][1:])].messages[0]["content"], return_tensors="pt")
        expected = plain.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        assert list(done.token_ids or ()) == expected.tolist()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    torch.manual_seed(1)
    return TransformersEngine(EngineSpec(model=str(_save(tmp_path_factory.mktemp("llama"), _llama()))))


def test_a_sample_does_not_depend_on_its_neighbours(llama: TransformersEngine) -> None:
    together = _by_key(llama.generate(_requests(), SAMPLED))
    for batch_size in (1, 2, 7):
        llama.batch_size = batch_size
        alone = _by_key(llama.generate(_requests(), SAMPLED))
        assert {key: one.text for key, one in alone.items()} == {key: one.text for key, one in together.items()}
    llama.batch_size = 128
    reversed_order = _by_key(llama.generate(_requests()[::-1], SAMPLED))
    assert {key: one.token_ids for key, one in reversed_order.items()} == {
        key: one.token_ids for key, one in together.items()
    }


def test_samples_of_a_problem_differ(llama: TransformersEngine) -> None:
    assert len({one.text for one in llama.generate(_requests(n=8, lengths=(3,)), SAMPLED)}) == 8


@pytest.mark.parametrize(("failing_call", "batch_size"), [(1, 12), (4, 12), (9, 12), (2, 2)])
def test_memory_that_runs_out_halves_the_batch_and_loses_nothing(
    llama: TransformersEngine, monkeypatch: pytest.MonkeyPatch, failing_call: int, batch_size: int
) -> None:
    expected = _by_key(llama.generate(_requests(), SAMPLED))
    calls = 0
    forward = llama.forward

    def failing(ids: torch.Tensor, positions: torch.Tensor, slots: Slots) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(ids, positions, slots)

    monkeypatch.setattr(llama, "forward", failing)
    monkeypatch.setattr(llama, "batch_size", batch_size)
    got = list(llama.generate(_requests(), SAMPLED))
    assert len(got) == len(expected)
    assert {key: one.text for key, one in _by_key(iter(got)).items()} == {k: one.text for k, one in expected.items()}


def test_memory_too_small_for_one_sample_is_an_error_row_each(
    llama: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> torch.Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(llama, "forward", failing)
    got = _by_key(llama.generate(_requests(), SAMPLED))
    assert len(got) == 12
    assert {one.finish_reason for one in got.values()} == {"error"}
    assert "out of memory" in (got["p0", 0].error or "")


def test_stop_strings_are_cut_off(llama: TransformersEngine) -> None:
    whole = _by_key(llama.generate(_requests(n=1), SAMPLED))["p1", 0]
    stop = whole.text.split()[4]
    stopped = _by_key(
        llama.generate(_requests(n=1), SamplingParams(temperature=1.0, top_p=1.0, max_tokens=20, stop=(stop,)))
    )["p1", 0]
    assert stopped.finish_reason == "stop"
    assert stopped.text == whole.text[: whole.text.index(stop)]


def test_context_limits_the_completion_and_a_prompt_that_fills_it_is_an_error(llama: TransformersEngine) -> None:
    long = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=10_000)
    requests = [
        Request(
            problem_id=name,
            messages=({"role": "user", "content": " ".join(["w1"] * length)},),
            sample_indexes=(0,),
            seeds=(5,),
        )
        for name, length in (("short", 90), ("full", 97))
    ]
    got = _by_key(llama.generate(requests, long))
    assert got["short", 0].n_tokens <= 6
    assert got["full", 0].finish_reason == "error"
    assert "97 tokens" in (got["full", 0].error or "")


def test_an_empty_prompt_is_an_error_row(llama: TransformersEngine) -> None:
    request = Request(problem_id="e", messages=({"role": "user", "content": ""},), sample_indexes=(0,), seeds=(1,))
    (done,) = llama.generate([request], SAMPLED)
    assert (done.finish_reason, done.error) == ("error", "the prompt has no tokens")


def test_prefix_is_continued_and_not_repeated(llama: TransformersEngine) -> None:
    joined = Request(
        problem_id="a", messages=({"role": "user", "content": "w1 w2 w3"},), sample_indexes=(0,), seeds=(3,)
    )
    split = Request(
        problem_id="a", messages=({"role": "user", "content": "w1"},), sample_indexes=(0,), seeds=(3,), prefix="w2 w3"
    )
    first, second = (next(iter(llama.generate([request], SAMPLED))) for request in (joined, split))
    assert first.text == second.text


def _score_requests(engine: TransformersEngine, share: bool) -> list[ScoreRequest]:
    """Ragged continuations of ragged prompts, a single token and a partly given one among them."""
    found = []
    for request in _requests(lengths=(3, 17, 1, 9)):
        lengths = (1, 5, 30, 11)
        continuations = tuple(
            Continuation(
                key=f"{length}",
                token_ids=tuple(4 + (7 * length + 3 * step) % 60 for step in range(length)),
                given=3 if length == 11 else 0,
            )
            for length in lengths
        )
        for group in [continuations] if share else [(one,) for one in continuations]:
            found.append(ScoreRequest(problem_id=request.problem_id, messages=request.messages, continuations=group))
    return found


@pytest.mark.parametrize("share", [True, False], ids=["shared prompt", "alone"])
def test_scores_equal_a_plain_forward_pass(folder: Path, share: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expo_bench.engines.transformers.scoring._HEAD_CHUNK", 4)
    monkeypatch.setattr("expo_bench.engines.transformers.slots._QUERY_CHUNK", 7)
    monkeypatch.setattr("expo_bench.engines.transformers.engine._PADDED_TOKENS", 50)
    engine = TransformersEngine(EngineSpec(model=str(folder)))
    plain = type(engine._model).from_pretrained(folder)
    requests = _score_requests(engine, share)
    scored = list(engine.score(requests))
    assert len({(one.problem_id, one.key) for one in scored}) == len(scored) == 16
    for one in scored:
        request = next(r for r in requests if r.problem_id == one.problem_id)
        prompt = engine._tokenizer(request.messages[0]["content"])["input_ids"]
        (whole,) = [c for r in requests for c in r.continuations if (r.problem_id, c.key) == (one.problem_id, one.key)]
        with torch.no_grad():
            logprobs = plain(torch.tensor([[*prompt, *whole.token_ids]])).logits[0].log_softmax(-1)
        at = torch.arange(len(prompt) - 1 + whole.given, len(prompt) - 1 + len(whole.token_ids))
        expected = logprobs[at, torch.tensor(whole.token_ids[whole.given :])]
        torch.testing.assert_close(torch.from_numpy(one.logprobs), expected, atol=1e-4, rtol=0)
        entropy = -(logprobs[at].exp() * logprobs[at]).sum(-1)
        torch.testing.assert_close(torch.from_numpy(one.entropies), entropy, atol=1e-4, rtol=0)


def test_what_was_sampled_scores_as_the_sampler_said(llama: TransformersEngine) -> None:
    completions = _by_key(llama.generate(_requests(), SAMPLED))
    requests = [
        ScoreRequest(
            problem_id=request.problem_id,
            messages=request.messages,
            continuations=tuple(
                Continuation(key=str(index), token_ids=completions[request.problem_id, index].token_ids or ())
                for index in request.sample_indexes
            ),
        )
        for request in _requests()
    ]
    for one in llama.score(requests):
        said = completions[one.problem_id, int(one.key)].sum_logprob
        assert float(one.logprobs.sum()) == pytest.approx(said, abs=1e-3)


def test_scoring_goes_on_with_smaller_batches_when_memory_runs_out(
    llama: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = _score_requests(llama, share=True)
    expected = {(one.problem_id, one.key): float(one.logprobs.sum()) for one in llama.score(requests)}
    read = prefixes._read

    def failing(model: object, parts: Sequence[prefixes.Part], *, keep: bool) -> None:
        if len(parts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        read(model, parts, keep=keep)

    monkeypatch.setattr(prefixes, "_read", failing)
    got = {(one.problem_id, one.key): float(one.logprobs.sum()) for one in llama.score(requests)}
    assert got == pytest.approx(expected, abs=1e-4)


_CHAIN = tuple(4 + 7 * step % 60 for step in range(40))
_BEHIND_IT = [
    Continuation(key="chain", token_ids=_CHAIN),
    Continuation(key="cut", token_ids=(*_CHAIN[:35], 63, 8, 7), given=35),
    Continuation(key="longer", token_ids=(*_CHAIN, 6, 5), given=40),
    Continuation(key="part", token_ids=_CHAIN[:30], given=4),
    Continuation(key="other", token_ids=(*_CHAIN[:3], 20, 21, 22)),
]
_LATER = Continuation(key="later", token_ids=(*_CHAIN[:35], 63, 8, 6, 5), given=38)


@pytest.mark.parametrize(
    ("most", "first", "again"),
    [
        # read are the last of the prompt's 3 ids and a sequence but its last id. "other" has too little in common with
        # "chain" to wait; "cut" and "longer" add 2 ids each, "part" none, and "later" 1 to "cut"
        pytest.param(prefixes.KEPT_TOKENS, [2, 40 + 6, 2 + 2], [1], id="kept"),
        pytest.param(0, [2, 40 + 38 + 42 + 30 + 6], [2, 39], id="not kept"),
    ],
)
def test_a_beginning_is_read_once(llama: TransformersEngine, most: int, first: list[int], again: list[int]) -> None:
    model = llama._model
    passes: list[int] = []
    hook = model.base_model.register_forward_pre_hook(
        lambda _, __, given: passes.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    expected = {
        one.key: next(score_prompt(model, "p", (5, 6, 7), [one], 4096)).logprobs for one in (*_BEHIND_IT, _LATER)
    }
    kept = prefixes.Prefixes(most)
    passes.clear()
    got = {one.key: one.logprobs for one in score_prompt(model, "p", (5, 6, 7), _BEHIND_IT, 4096, prefixes=kept)}
    assert passes == first
    passes.clear()
    (later,) = score_prompt(model, "p", (5, 6, 7), [_LATER], 4096, prefixes=kept)
    assert passes == again
    hook.remove()
    for key, logprobs in {**got, "later": later.logprobs}.items():
        np.testing.assert_allclose(logprobs, expected[key], atol=1e-5)


def _chains(*chains: tuple[int, ...]) -> ScoreRequest:
    continuations = tuple(Continuation(key=f"k{at}", token_ids=ids) for at, ids in enumerate(chains))
    return ScoreRequest(problem_id="p", messages=_requests()[0].messages, continuations=continuations)


def test_nothing_to_score_is_refused(llama: TransformersEngine) -> None:
    with pytest.raises(UserError, match="p, k0"):
        list(llama.score([_chains(())]))


def test_a_chain_that_does_not_fit_is_told_and_the_others_are_scored(llama: TransformersEngine) -> None:
    long = tuple(range(4, 60)) * 2
    got = {one.key: one for one in llama.score([_chains(long, (5, 6))])}
    assert "the model's context is 96" in (got["k0"].error or "")
    assert got["k0"].logprobs.size == 0
    assert got["k1"].error is None and got["k1"].logprobs.shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "no-such-folder/here/x"}, "neither micro"),
        ({"model": "nothing.gguf"}, "does not exist"),
        ({"model": "micro", "engine_options": {"batch_size": 0}}, "engine_options.batch_size"),
        ({"model": "micro", "engine_options": {"batchsize": 3}}, "engine_options.batchsize"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        TransformersEngine(EngineSpec(**arguments))
    assert "\n" not in str(raised.value)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="pickled weights are not loaded"):
        TransformersEngine(EngineSpec(model=str(tmp_path)))


def test_no_chat_template_is_a_clear_line(llama: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama._tokenizer, "chat_template", None)
    with pytest.raises(UserError, match="--prompt plain"):
        list(llama.generate(_requests(), SAMPLED))
