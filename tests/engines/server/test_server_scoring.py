"""Scoring through the server engine, against a real HTTP server on loopback that misbehaves."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Continuation, Scored, ScoreRequest
from expo_bench.engines.server import backoff
from expo_bench.engines.server.engine import ServerEngine
from expo_bench.errors import UserError
from expo_bench.likelihood.pipeline import Policy
from tests.engines.server.fake_server import END, FakeServer, Plan

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.01)
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def engine(server: FakeServer) -> Iterator[ServerEngine]:
    subject = ServerEngine(
        EngineSpec(model=f"{server.url}#m", engine_options={"max_retries": 3, "timeout_seconds": 5, "concurrency": 4})
    )
    yield subject
    subject.close()


def request(text: str = "q", *continuations: Continuation, chat: bool = True) -> ScoreRequest:
    return ScoreRequest(
        problem_id=text,
        messages=({"role": "user", "content": text},),
        continuations=continuations or (Continuation(key="a", token_ids=tuple(map(ord, "abc"))),),
        chat=chat,
    )


def score(engine: ServerEngine, *requests: ScoreRequest) -> dict[tuple[str, str], Scored]:
    return {(scored.problem_id, scored.key): scored for scored in engine.score(requests or [request()])}


def scoring(server: FakeServer) -> list[dict[str, Any]]:
    return [asked for asked in server.seen if asked["path"] == "/v1/completions"]


PROMPT = "\x01q\x02\x03"
"""The ids 1, q, 2, 3 as the fake server's chat template puts them; a scored text is known by this and what follows."""


def test_scores_are_those_of_the_given_ids(server: FakeServer, engine: ServerEngine) -> None:
    after = Continuation(key="after", token_ids=(97, 98, 99, 103), given=2)
    got = score(engine, request("q", Continuation(key="a", token_ids=(97, 98, 99)), after), request("r"))
    # the server gives a token -(id modulo 8) / 4: 97, 98, 99 and 103 leave 1, 2, 3 and 7
    assert {key: scored.logprobs.tolist() for key, scored in got.items()} == {
        ("q", "a"): [-0.25, -0.5, -0.75],
        ("q", "after"): [-0.75, -1.75],
        ("r", "a"): [-0.25, -0.5, -0.75],
    }
    assert got["q", "after"].token_ids == (99, 103)
    assert {(scored.entropies, scored.error, str(scored.logprobs.dtype)) for scored in got.values()} == {
        (None, None, "float32")
    }


def test_what_is_asked(server: FakeServer, engine: ServerEngine) -> None:
    score(engine)
    (asked,) = scoring(server)
    assert asked["prompt"] == [1, ord("q"), 2, 3, *map(ord, "abc")]
    assert (asked["prompt_logprobs"], asked["max_tokens"], asked["temperature"], asked["model"]) == (0, 1, 0, "m")
    assert {one["headers"]["authorization"] for one in server.seen} == {f"Bearer {KEY}"}


def test_plain_prompts_get_the_tokenizers_special_tokens(server: FakeServer, engine: ServerEngine) -> None:
    score(engine, request("q", chat=False))
    assert scoring(server)[0]["prompt"] == [1, *map(ord, "qabc")]


def test_thinking_goes_to_the_chat_template(server: FakeServer) -> None:
    subject = ServerEngine(EngineSpec(model=f"{server.url}#m", enable_thinking=False))
    score(subject)
    subject.close()
    assert server.seen[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_tokenize_appends_the_end_of_turn(server: FakeServer, engine: ServerEngine) -> None:
    assert engine.tokenize("ab") == (97, 98, END)
    assert engine.tokenize("") == (END,)
    # the end of turn is looked for once, with two requests, and how the tokenizer writes a space, with one
    assert len(server.seen) == 5


def test_what_tokens_write_is_known_from_what_was_tokenised(engine: ServerEngine) -> None:
    ids = engine.tokenize("ab c")
    assert engine.token_texts(ids[:-1]) == [b"a", b"b", b" ", b"c"]
    assert engine.cover(b"ab") == (97, 98)
    assert engine.cover(b"\xc3") is None
    assert engine.token_texts([1000]) == [b"\xff"]


def test_other_ways_to_write_a_text_are_listed(server: FakeServer, engine: ServerEngine) -> None:
    ids = engine.tokenize("bax")[:-1]
    part = Continuation(key="a", token_ids=ids, given=1, text=b"ax", marks=(1, 2))
    got = score(engine, request("q", part))["q", "a"]
    assert [asked["prompt_logprobs"] for asked in scoring(server)] == [20]
    first, second = got.branches
    # a has -0.25 where it stands; x, which the server lists everywhere, as well
    assert first.inside == ((97, 1, -0.25),)
    assert first.ends == pytest.approx((-0.25, -math.inf))
    assert second.ends == pytest.approx((-math.inf, -0.25))
    assert first.unseen == 0
    assert second.unseen == pytest.approx(1 - math.exp(-0.25))


@pytest.mark.parametrize("names", [None, ["a"], [1, 2]])
def test_tokens_without_names_are_one_clear_line(server: FakeServer, engine: ServerEngine, names: Any) -> None:
    engine.tokenize("ab")
    server.tokenizing = [Plan(edit=lambda body: body.update(token_strs=names))]
    with pytest.raises(UserError, match="token_strs"):
        engine.tokenize("ab")


def test_scores_many_at_a_time(server: FakeServer, engine: ServerEngine) -> None:
    server.everything = Plan(wait=0.05)
    texts = [chr(letter) for letter in range(97, 117)]
    assert len(score(engine, *map(request, texts))) == 20
    assert server.most_running == 4


PASSING = [
    Plan(status=500, body="oops"),
    Plan(status=429, body="slow down", headers={"Retry-After": "0.01"}),
    Plan(drop=True),
    Plan(body="<html>"),
]


@pytest.mark.parametrize("plan", PASSING)
def test_what_passes_is_tried_again(server: FakeServer, engine: ServerEngine, plan: Plan) -> None:
    server.plans[PROMPT + "abc"] = [plan, plan, Plan()]
    assert score(engine)["q", "a"].logprobs.tolist() == [-0.25, -0.5, -0.75]
    assert server.attempts[PROMPT + "abc"] == 3


@pytest.mark.parametrize("plan", PASSING[:3])
def test_tokenizing_is_tried_again(server: FakeServer, engine: ServerEngine, plan: Plan) -> None:
    server.tokenizing = [plan, Plan()]
    assert engine.tokenize("ab") == (97, 98, END)


@pytest.mark.parametrize("plan", PASSING)
def test_what_stays_ends_the_run(server: FakeServer, engine: ServerEngine, plan: Plan) -> None:
    server.everything = plan
    with pytest.raises(UserError) as caught:
        score(engine)
    assert server.attempts[PROMPT + "abc"] == 4
    assert server.url in str(caught.value)


def change(at: int, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(body: dict[str, Any]) -> None:
        body["choices"][0]["prompt_logprobs"][at] = value

    return edit


UNUSABLE: dict[str, Plan] = {
    "no field, as a server that does not know it": Plan(edit=lambda body: body["choices"][0].pop("prompt_logprobs")),
    "null": Plan(edit=lambda body: body["choices"][0].update(prompt_logprobs=None)),
    "one less": Plan(edit=lambda body: body["choices"][0]["prompt_logprobs"].pop()),
    "one more": Plan(edit=lambda body: body["choices"][0]["prompt_logprobs"].insert(1, {"1": {"logprob": -1.0}})),
    "another id": Plan(edit=change(-1, {"98": {"logprob": -1.0}})),
    "a hole": Plan(edit=change(-1, None)),
    "a logit": Plan(edit=change(-1, {"99": {"logprob": 1.5}})),
    "minus infinity": Plan(edit=change(-1, {"99": {"logprob": float("-inf")}})),
    "not a number": Plan(edit=change(-1, {"99": {"logprob": float("nan")}})),
    "a text": Plan(edit=change(-1, {"99": {"logprob": "-1"}})),
    "refused": Plan(status=400, body={"error": {"message": f"unknown field prompt_logprobs {KEY}"}}),
    "no completions": Plan(status=404, body={"detail": "Not Found"}),
}


@pytest.mark.parametrize("plan", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_no_usable_logprobs_is_one_clear_line_at_the_first_request(
    server: FakeServer, engine: ServerEngine, plan: Plan
) -> None:
    server.everything = plan
    with pytest.raises(UserError, match="--engine transformers or vllm") as caught:
        score(engine)
    assert f"{server.url} gives no log-probabilit" in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(scoring(server)) == 1


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Plan(status=404, body={"detail": "Not Found"}), "--engine transformers or vllm"),
        (Plan(body={"error": "no such path"}), "--engine transformers or vllm"),
        (Plan(body={"tokens": ["a"]}), "--engine transformers or vllm"),
        (Plan(body="<html>"), "--engine transformers or vllm"),
        (Plan(status=401, body=f"bad key {KEY}"), "OPENAI_API_KEY"),
        (Plan(edit=lambda body: body.update(tokens=[1, 2])), "puts no token behind an answer"),
    ],
)
def test_no_tokenizer_is_one_clear_line(server: FakeServer, engine: ServerEngine, plan: Plan, said: str) -> None:
    server.tokenizing = [plan]
    with pytest.raises(UserError, match=said) as caught:
        engine.tokenize("a")
    assert server.url in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("told_by", ["/tokenize", "/v1/models"])
def test_what_does_not_fit_is_an_error_of_its_own(server: FakeServer, told_by: str) -> None:
    # the prompt has 4 tokens, and one is sampled
    server.max_model_len = 10 if told_by == "/tokenize" else None
    server.models = Plan(body={"data": [{"id": "m", "max_model_len": 10 if told_by == "/v1/models" else 99}]})
    engine = ServerEngine(EngineSpec(model=f"{server.url}#m"))
    fits, not_quite = (Continuation(key=str(n), token_ids=(97,) * n) for n in (5, 6))
    got = score(engine, request("q", not_quite, fits))
    assert got["q", "6"].error == "10 tokens with the prompt, the model's context is 10"
    assert len(got["q", "6"].logprobs) == 0
    assert got["q", "5"].logprobs.tolist() == [-0.25] * 5
    assert len(scoring(server)) == 1
    engine.close()


def test_a_context_that_only_the_refusal_tells(server: FakeServer, engine: ServerEngine) -> None:
    server.max_model_len = None
    said = "This model's maximum context length is 6 tokens"
    server.plans[PROMPT + "abc"] = [Plan(status=400, body={"error": {"message": said}})]
    got = score(engine, request("q"), request("r"))
    assert said in str(got["q", "a"].error)
    assert got["r", "a"].error is None


@pytest.mark.parametrize(("ids", "given"), [((), 0), ((97, 98), 2)])
def test_nothing_to_score(engine: ServerEngine, ids: tuple[int, ...], given: int) -> None:
    with pytest.raises(UserError, match="nothing to score"):
        score(engine, request("q", Continuation(key="a", token_ids=ids, given=given)))


def test_a_policys_name_has_no_secrets() -> None:
    with pytest.raises(ValidationError, match="OPENAI_API_KEY") as caught:
        Policy(model="https://user:hunter2@host:8000/v1#org/m")
    assert "hunter2" not in str(caught.value)
    assert Policy(model="org/m", revision="main").name == "org/m@main"
