"""The server engine against a real HTTP server on loopback that misbehaves."""

import datetime
import email.utils
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.engines.server import backoff
from expo_bench.engines.server.backoff import retry_delay
from expo_bench.engines.server.engine import ServerEngine
from expo_bench.engines.server.messages import MalformedReply, completion
from expo_bench.errors import UserError
from tests.engines.server.fake_server import FakeServer, Plan

KEY = "sk-very-secret-0123456789"
PARAMS = SamplingParams(temperature=0.7, top_p=0.9, max_tokens=64)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.01)
    with FakeServer() as fake:
        yield fake


def request(text: str, n: int = 1, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "problem_id": text,
        "messages": ({"role": "user", "content": text},),
        "sample_indexes": tuple(range(n)),
        "seeds": tuple(range(100, 100 + n)),
    }
    return Request(**{**fields, **changes})


def engine(server: FakeServer, *, enable_thinking: bool | None = None, **options: Any) -> ServerEngine:
    chosen = {"max_retries": 3, "timeout_seconds": 5, **options}
    return ServerEngine(EngineSpec(model=f"{server.url}#m", enable_thinking=enable_thinking, engine_options=chosen))


def draw(server: FakeServer, *texts: str, params: SamplingParams = PARAMS, **options: Any) -> dict[str, Completion]:
    completions = engine(server, **options).generate([request(text) for text in texts], params)
    return {completion.problem_id: completion for completion in completions}


def samples(server: FakeServer) -> list[dict[str, Any]]:
    """What was asked, the probes apart."""
    return [asked for asked in server.seen if (asked.get("max_tokens") or 0) != 1]


def test_one_request_a_sample_each_with_its_seed(server: FakeServer) -> None:
    requests = [request(f"p{i}", n=5) for i in range(8)]
    got = list(engine(server).generate(requests, PARAMS))
    assert sorted((c.problem_id, c.sample_index) for c in got) == [(f"p{i}", j) for i in range(8) for j in range(5)]
    assert all(c.text == f"seed {100 + c.sample_index}" for c in got)
    assert all(
        (c.finish_reason, c.n_tokens, c.sum_logprob, c.token_ids, c.error) == ("stop", 3, -1.0, None, None) for c in got
    )
    assert len(samples(server)) == 40
    one = samples(server)[0]
    assert (one["n"], one["temperature"], one["top_p"], one["max_tokens"], one["model"]) == (1, 0.7, 0.9, 64, "m")
    assert one["headers"]["authorization"] == f"Bearer {KEY}"
    assert "stop" not in one


def test_prompts_are_counted_as_the_server_bills_them(server: FakeServer) -> None:
    subject = engine(server)
    list(subject.generate([request("p", n=2)], PARAMS))
    assert subject.gauge.prompts == {("p", 0): 5, ("p", 1): 5}  # not the request that tries the server
    list(subject.generate([request("p", n=1, prefix="<think>so</think>")], PARAMS))
    assert subject.gauge.prompts[("p", 0)] == 10  # a thought and its answer


def test_never_more_in_flight_than_asked_for(server: FakeServer) -> None:
    server.everything = Plan(wait=0.05)
    list(engine(server, concurrency=3).generate([request("p", n=12)], PARAMS))
    assert server.most_running == 3


def test_plain_prompts_go_to_completions(server: FakeServer) -> None:
    requests = [request("Problem: 1+1", chat=False, prefix=" so")]
    (got,) = engine(server).generate(requests, SamplingParams(temperature=0, top_p=1, max_tokens=9, stop=("\n\n",)))
    asked = samples(server)[0]
    assert (asked["path"], asked["prompt"], asked["stop"]) == ("/v1/completions", "Problem: 1+1 so", ["\n\n"])
    assert (got.text, got.sum_logprob) == ("seed 100", -1.0)


def test_chat_prefix_thinking_and_extra_body(server: FakeServer) -> None:
    requests = [request("p", prefix="<think>")]
    list(engine(server, enable_thinking=False, extra_body={"top_k": 20}).generate(requests, PARAMS))
    asked = samples(server)[0]
    assert asked["messages"][-1] == {"role": "assistant", "content": "<think>"}
    assert (asked["continue_final_message"], asked["add_generation_prompt"]) == (True, False)
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert asked["top_k"] == 20


def test_vllm_servers_are_asked_for_ids_and_no_hidden_defaults(server: FakeServer) -> None:
    server.models = Plan(body={"data": [{"id": "m", "root": "/models/m", "owned_by": "vllm", "max_model_len": 512}]})
    server.everything = Plan(edit=lambda body: body["choices"][0].update(token_ids=[5, 6, 2]))
    subject = engine(server)
    (got,) = subject.generate([request("p")], PARAMS)
    assert got.token_ids == (5, 6, 2)
    assert samples(server)[0]["repetition_penalty"] == 1.0
    assert samples(server)[0]["top_k"] == -1
    assert (subject.describe()["root"], subject.describe()["max_model_len"]) == ("/models/m", 512)


PASSING = {
    "500 twice": [Plan(status=500, body="oops"), Plan(status=500, body="oops"), Plan()],
    "503": [Plan(status=503, body={"error": {"message": "loading"}}), Plan()],
    "dropped": [Plan(drop=True), Plan()],
    "cut": [Plan(cut=True), Plan()],
    "not JSON": [Plan(body="<html>"), Plan()],
    "truncated JSON": [Plan(body='{"choices": [{"message": {"con'), Plan()],
    "deep JSON": [Plan(body="[" * 200_000), Plan()],
    "a list": [Plan(body=[1]), Plan()],
    "an error with 200": [Plan(body={"error": {"message": "overloaded"}}), Plan()],
    "no choices": [Plan(body={"choices": []}), Plan()],
    "null choices": [Plan(body={"choices": None}), Plan()],
    "two choices": [Plan(edit=lambda body: body["choices"].append(body["choices"][0])), Plan()],
    "message is a list": [Plan(edit=lambda body: body["choices"][0].update(message=[])), Plan()],
    "no count": [Plan(edit=lambda body: (body.pop("usage"), body["choices"][0].pop("logprobs"))), Plan()],
}


def test_what_passes_is_tried_again(server: FakeServer) -> None:
    server.plans.update(PASSING)
    got = draw(server, "good", *PASSING)
    assert {text: c.text for text, c in got.items()} == dict.fromkeys(["good", *PASSING], "seed 100")
    assert {text: server.attempts[text] for text in PASSING} == {text: len(plans) for text, plans in PASSING.items()}


def test_what_stays_is_one_error_and_the_rest_goes_on(server: FakeServer) -> None:
    for text, plans in PASSING.items():
        server.plans[text] = plans[:1]
    server.plans["refused"] = [Plan(status=400, body={"error": {"message": f"bad {KEY}\nprompt"}})]
    server.plans["filtered"] = [Plan(edit=lambda body: body["choices"][0].update(finish_reason="content_filter"))]
    got = draw(server, "good", *PASSING, "refused", "filtered", max_retries=1)
    bad = [c for text, c in got.items() if text != "good"]
    assert got["good"].finish_reason == "stop"
    assert len(bad) == len(PASSING) + 2
    assert all((c.finish_reason, c.text, c.token_ids, c.sum_logprob) == ("error", "", None, None) for c in bad)
    assert all(c.error and KEY not in c.error and "\n" not in c.error and len(c.error) <= 300 for c in bad)
    assert "400" in str(got["refused"].error)
    assert "500" in str(got["500 twice"].error)
    assert "2 choices" in str(got["two choices"].error)
    assert "content_filter" in str(got["filtered"].error)
    assert server.attempts["refused"] == server.attempts["filtered"] == 1
    assert server.attempts["dropped"] == 2


def test_retry_after_is_honoured(server: FakeServer) -> None:
    server.plans["p"] = [Plan(status=429, body="slow down", headers={"Retry-After": "0.6"}), Plan()]
    assert draw(server, "p")["p"].finish_reason == "stop"
    first, second = server.times["p"]
    assert 0.6 <= second - first < 2


def test_retry_delays() -> None:
    ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    assert 28 <= retry_delay(0, email.utils.format_datetime(ahead, usegmt=True)) <= 30
    assert retry_delay(0, "7") == 7
    assert retry_delay(0, "86400") == backoff.LONGEST_RETRY_AFTER_SECONDS
    for useless in (None, "soon", "-3", "0", "nan"):
        assert 0.25 <= retry_delay(0, useless) <= 0.5
    assert 2 <= retry_delay(3) <= 4
    assert retry_delay(10_000) <= backoff.LONGEST_SECONDS


def test_time_out_and_slow_drip_end_in_time(server: FakeServer) -> None:
    server.plans["silent"] = [Plan(wait=3)]
    server.plans["drip"] = [Plan(drip=0.05)]
    started = time.monotonic()
    got = draw(server, "good", "silent", "drip", timeout_seconds=0.5, max_retries=1)
    assert time.monotonic() - started < 4
    assert {text: c.finish_reason for text, c in got.items()} == {"good": "stop", "silent": "error", "drip": "error"}
    assert "0.5 s" in str(got["drip"].error)


FATAL = [
    (Plan(status=401, body={"error": {"message": f"Incorrect API key provided: {KEY}"}}), "OPENAI_API_KEY"),
    (Plan(status=403, body={"error": {"message": "no access"}}), "no access"),
    (Plan(status=404, body={"error": {"message": "The model `m` does not exist."}}), "does not exist"),
    (Plan(status=400, body={"error": {"message": "top_p must be positive"}}), "top_p must be positive"),
    (Plan(status=422, body={"detail": "extra_forbidden"}), "extra_forbidden"),
    (Plan(status=429, body={"error": {"message": "pay", "code": "insufficient_quota"}}), "pay"),
    (Plan(status=500, body="broken"), "broken"),
    (Plan(body="<html>not an API</html>"), "not JSON"),
]


@pytest.mark.parametrize(("plan", "said"), FATAL)
def test_what_no_request_gets_past_is_one_clear_line(server: FakeServer, plan: Plan, said: str) -> None:
    server.everything = plan
    with pytest.raises(UserError) as caught:
        draw(server, "a", "b", max_retries=1)
    assert said in str(caught.value)
    assert server.url in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not samples(server)


def test_a_key_that_expires_stops_the_run_and_keeps_what_is_done(server: FakeServer) -> None:
    server.plans["late"] = [Plan(status=401, body={"error": {"message": KEY}}, wait=0.4)]
    got = []
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        for one in engine(server).generate([request(text) for text in ("a", "b", "late")], PARAMS):
            got.append(one.problem_id)
    assert sorted(got) == ["a", "b"]


def test_a_server_that_goes_away_stops_the_run(server: FakeServer) -> None:
    got = []
    with pytest.raises(UserError, match="answers no more"):
        for one in engine(server, concurrency=1, max_retries=1).generate([request("p", n=50)], PARAMS):
            got.append(one)
            if len(got) == 3:
                server.everything = Plan(drop=True)
                server.models = Plan(drop=True)
    assert len(got) >= 3
    assert all(c.finish_reason == "stop" for c in got)


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer() as gone:
        pass
    with pytest.raises(UserError, match=f"no server answers at {gone.url}"):
        ServerEngine(EngineSpec(model=f"{gone.url}#m"))


def test_key_refused_at_the_list_of_models(server: FakeServer) -> None:
    server.models = Plan(status=401, body={"error": {"message": f"bad key {KEY}"}})
    with pytest.raises(UserError, match="refuses the key") as caught:
        engine(server)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "models", [Plan(status=404, body="no"), Plan(body="<html>"), Plan(body={"data": None}), Plan(body={"data": [1]})]
)
def test_a_list_of_models_is_not_needed(server: FakeServer, models: Plan) -> None:
    server.models = models
    assert draw(server, "p")["p"].finish_reason == "stop"


def test_logprobs_refused(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    def plan(text: str) -> Plan:
        refused = server.seen[-1].get("logprobs")
        return Plan(status=400, body={"error": {"message": "logprobs are not supported"}}) if refused else Plan()

    server.plan = plan  # type: ignore[method-assign]
    subject = engine(server, concurrency=1)
    with caplog.at_level(logging.WARNING):
        got = list(subject.generate([request("p", n=3)], PARAMS))
    assert [(c.finish_reason, c.sum_logprob, c.n_tokens) for c in got] == [("stop", None, 3)] * 3
    assert subject.describe()["logprobs"] is False
    assert [record.getMessage() for record in caplog.records if "log-probabilities" in record.getMessage()]


def test_newer_name_of_the_token_limit(server: FakeServer) -> None:
    said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."

    def plan(text: str) -> Plan:
        return Plan(status=400, body={"error": {"message": said}}) if "max_tokens" in server.seen[-1] else Plan()

    server.plan = plan  # type: ignore[method-assign]
    assert draw(server, "p", concurrency=1)["p"].finish_reason == "stop"
    assert server.seen[-1]["max_completion_tokens"] == 64


def test_limit_is_left_to_the_server_where_prompt_and_limit_do_not_fit(server: FakeServer) -> None:
    too_long = Plan(status=400, body={"error": {"message": "This model's maximum context length is 512 tokens"}})
    server.plans["long"] = [too_long, Plan()]
    server.plans["too long"] = [too_long]
    got = draw(server, "long", "too long")
    assert got["long"].finish_reason == "stop"
    assert (got["too long"].finish_reason, server.attempts["too long"]) == ("error", 2)
    assert "context length" in str(got["too long"].error)
    assert [asked["max_tokens"] for asked in samples(server)].count(None) == 2


def test_early_close_cancels_and_ends_the_thread(server: FakeServer) -> None:
    server.plans["slow"] = [Plan(wait=3)]
    before = threading.active_count()
    completions = engine(server, concurrency=4).generate([request("fast"), request("slow", n=30)], PARAMS)
    assert next(completions).problem_id == "fast"
    started = time.monotonic()
    completions.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 2.5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("expo-bench")]
    assert server.attempts["slow"] <= 4
    # those of the fake server end with their slow answers
    until = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_generate_again_on_the_same_engine(server: FakeServer) -> None:
    subject = engine(server)
    for _ in range(2):
        assert len(list(subject.generate([request("p", n=2)], PARAMS))) == 2
    assert list(subject.generate([], PARAMS)) == []
    subject.close()


def test_describe_has_no_secrets(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
    url = server.url.replace("127.0.0.1", "user:hunter2@127.0.0.1") + "?token=hunter3"
    # the settings refuse such an address; the engine would not show it either
    described = ServerEngine(EngineSpec.model_construct(model=f"{url}#m")).describe()
    assert described["url"] == server.url
    assert not any(secret in str(described) for secret in (KEY, "hunter"))
    assert (described["engine"], described["name"], described["server"]) == ("server", "m", "fake")


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("ftp://host/v1", {}, "http://HOST"),
        ("http:///v1", {}, "http://HOST"),
        ("http://host:99999/v1", {}, "http://HOST"),
        ("http://host/v1", {"temprature": 1}, "engine_options.temprature"),
        ("http://host/v1", {"concurrency": 0}, "concurrency"),
    ],
)
def test_bad_arguments(url: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ServerEngine(EngineSpec(model=f"{url}#m", engine_options=options))


def test_a_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-bad\nkey")
    with pytest.raises(UserError, match="line break") as caught:
        ServerEngine(EngineSpec(model="http://127.0.0.1:1/v1#m"))
    assert "sk-bad" not in str(caught.value)


def test_openai_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"pip install .*\[server\]"):
        ServerEngine(EngineSpec(model="http://127.0.0.1:1/v1#m"))


READINGS = [
    ('{"message": {"content": "a"}, "finish_reason": "stop"}', "a", "stop"),
    ('{"message": {"content": "a"}, "finish_reason": "length"}', "a", "length"),
    ('{"message": {"content": null}, "finish_reason": "stop"}', "", "stop"),
    ('{"message": {"content": "a", "reasoning": "r"}, "finish_reason": "stop"}', "<think>r</think>a", "stop"),
    ('{"message": {"content": "a", "reasoning_content": "r"}, "finish_reason": "stop"}', "<think>r</think>a", "stop"),
    ('{"message": {"content": null, "reasoning": "r"}, "finish_reason": "length"}', "<think>r", "length"),
    ('{"message": {"content": null}, "finish_reason": "tool_calls"}', "", "error"),
    ('{"message": {"content": "a"}, "finish_reason": null}', "", "error"),
    ('{"message": {"content": "a"}, "finish_reason": ["stop"]}', "", "error"),
]


@pytest.mark.parametrize(("choice", "text", "finish_reason"), READINGS)
def test_reading_of_choices(choice: str, text: str, finish_reason: str) -> None:
    body = f'{{"choices": [{choice}], "usage": {{"completion_tokens": 2}}}}'
    got = completion("p", 0, body.encode(), chat=True)
    assert (got.text, got.finish_reason) == (text, finish_reason)
    assert (got.error is None) == (finish_reason != "error")


@pytest.mark.parametrize(
    ("logprobs", "n_tokens", "total"),
    [
        ([-1.0, -2.0], 2, -3.0),
        ([-1.0], 2, None),  # over other tokens than were counted
        ([-1.0, float("nan")], 2, None),
        ([-1.0, "x"], 2, None),
        ([], 0, 0.0),
    ],
)
def test_logprobs_count_only_where_they_cover_the_tokens(
    logprobs: list[Any], n_tokens: int, total: float | None
) -> None:
    import json

    choice = {"text": "a", "finish_reason": "stop", "logprobs": {"token_logprobs": logprobs}}
    body = json.dumps({"choices": [choice], "usage": {"completion_tokens": n_tokens}})
    assert completion("p", 0, body.encode(), chat=False).sum_logprob == total


def test_malformed_counts() -> None:
    for count in ("-1", '"3"', "true", "null", "1.5"):
        body = f'{{"choices": [{{"text": "a", "finish_reason": "stop"}}], "usage": {{"completion_tokens": {count}}}}}'
        with pytest.raises(MalformedReply):
            completion("p", 0, body.encode(), chat=False)


def test_importing_the_engine_does_not_import_openai() -> None:
    import subprocess

    code = "import expo_bench.engines.server.engine, sys; sys.exit('openai' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
