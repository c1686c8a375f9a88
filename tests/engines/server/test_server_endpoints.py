"""Several endpoints of one model, against real HTTP servers on loopback: no sample is lost or drawn twice."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app, main
from expo_bench.config import EngineSpec, load_config
from expo_bench.engines.base import Completion, Continuation, Request, SamplingParams, ScoreRequest
from expo_bench.engines.choosing import open_engine
from expo_bench.engines.server import backoff
from expo_bench.engines.server import connection as server_connection
from expo_bench.engines.server.engine import ServerEngine
from expo_bench.errors import UserError
from expo_bench.storage.run_folder import RunFolder
from tests.engines.server.fake_server import END, FakeServer, Plan

PARAMS = SamplingParams(temperature=0.7, top_p=0.9, max_tokens=64)
GONE = {
    "connections are closed": Plan(drop=True),
    "502 of whatever stands before it": Plan(status=502, body="no upstream"),
    "503": Plan(status=503, body={"error": {"message": "shutting down"}}),
}


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeServer, FakeServer]]:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.01)
    with FakeServer() as one, FakeServer() as two:
        yield one, two


def engine(*servers: FakeServer, **options: Any) -> ServerEngine:
    urls = ",".join(server.url for server in servers)
    return ServerEngine(
        EngineSpec(
            model=f"{urls}#m", engine_options={"max_retries": 3, "timeout_seconds": 5, "concurrency": 4, **options}
        )
    )


def request(text: str, n: int = 1) -> Request:
    return Request(
        problem_id=text,
        messages=({"role": "user", "content": text},),
        sample_indexes=tuple(range(n)),
        seeds=tuple(range(100, 100 + n)),
    )


def samples(server: FakeServer) -> list[dict[str, Any]]:
    """What was asked, the probes apart."""
    return [asked for asked in server.seen if (asked.get("max_tokens") or 0) != 1]


def check_all(got: list[Completion], n: int) -> None:
    assert sorted(c.sample_index for c in got) == list(range(n))
    assert all((c.finish_reason, c.text) == ("stop", f"seed {100 + c.sample_index}") for c in got)


def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_endpoints_share_the_requests(servers: tuple[FakeServer, FakeServer]) -> None:
    for server in servers:
        server.everything = Plan(wait=0.1)
    check_all(list(engine(*servers, concurrency=3).generate([request("p", 40)], PARAMS)), 40)
    assert [server.most_running for server in servers] == [3, 3]
    assert min(len(samples(server)) for server in servers) >= 14


def test_a_slow_endpoint_gets_less(servers: tuple[FakeServer, FakeServer]) -> None:
    slow, fast = servers
    slow.everything = Plan(wait=0.3)
    fast.everything = Plan(wait=0.02)
    check_all(list(engine(slow, fast, concurrency=2).generate([request("p", 40)], PARAMS)), 40)
    assert len(samples(fast)) > 3 * len(samples(slow)) > 0


@pytest.mark.parametrize("plan", GONE.values(), ids=GONE.keys())
def test_one_dies_half_way(
    servers: tuple[FakeServer, FakeServer], caplog: pytest.LogCaptureFixture, plan: Plan
) -> None:
    got = []
    # no retries: an attempt at an endpoint that is gone costs a request nothing
    for one in engine(*servers, max_retries=0).generate([request("p", 60)], PARAMS):
        got.append(one)
        if len(got) == 10:
            servers[0].leave(plan)
    check_all(got, 60)
    assert notes(caplog) == [f"{servers[0].url} does not answer: the other endpoints are asked in its place"]
    assert 70 - len(samples(servers[1])) > len(samples(servers[0])) > 0


def test_a_failed_request_goes_to_another_endpoint(
    servers: tuple[FakeServer, FakeServer], caplog: pytest.LogCaptureFixture
) -> None:
    # such an endpoint is there: its list of models is
    servers[0].everything = Plan(status=500, body="oops", headers={"Retry-After": "60"})
    servers[0].plan = lambda _text: Plan() if servers[0].seen[-1]["max_tokens"] == 1 else Plan(status=503)  # type: ignore[method-assign]
    check_all(list(engine(*servers, max_retries=1).generate([request("p", 12)], PARAMS)), 12)
    assert len(samples(servers[0])) > 0
    assert notes(caplog) == []


def test_one_that_comes_back_is_asked_again(
    servers: tuple[FakeServer, FakeServer], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "ASK_AGAIN_SECONDS", 0.1)
    flaky, other = servers
    well = flaky.models
    other.everything = Plan(wait=0.02)
    got, asked_before = [], 0
    for one in engine(flaky, other, concurrency=2).generate([request("p", 80)], PARAMS):
        got.append(one)
        if len(got) == 5:
            flaky.leave(Plan(drop=True))
        elif len(got) == 20:
            asked_before = len(samples(flaky))
            flaky.everything, flaky.models = Plan(wait=0.02), well
    check_all(got, 80)
    assert len(samples(flaky)) > asked_before + 5
    assert notes(caplog)[-1] == f"{flaky.url} answers again"


def test_one_that_comes_back_with_another_model_stays_out(
    servers: tuple[FakeServer, FakeServer], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "ASK_AGAIN_SECONDS", 0.05)
    flaky, other = servers
    other.everything = Plan(wait=0.01)
    got, asked_before = [], 0
    for one in engine(flaky, other, concurrency=2).generate([request("p", 60)], PARAMS):
        got.append(one)
        if len(got) == 5:
            flaky.leave(Plan(drop=True))
        elif len(got) == 20:
            asked_before = len(samples(flaky))
            flaky.everything, flaky.models = None, Plan(body={"data": [{"id": "m", "root": "/models/other"}]})
    check_all(got, 60)
    assert len(samples(flaky)) == asked_before
    assert "another model (root is '/models/other' and not '/models/m')" in notes(caplog)[-1]


def test_one_that_is_not_there_from_the_beginning(
    servers: tuple[FakeServer, FakeServer], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's pauses before it tries again
    with FakeServer() as closed:
        pass
    subject = engine(closed, servers[0])
    check_all(list(subject.generate([request("p", 9)], PARAMS)), 9)
    assert notes(caplog) == [f"{closed.url} does not answer: the other endpoints are asked in its place"]
    assert subject.describe()["url"] == f"{closed.url},{servers[0].url}"
    with pytest.raises(UserError, match=f"no server answers at {closed.url}: "):
        engine(closed)


def test_all_die(servers: tuple[FakeServer, FakeServer]) -> None:
    got = []
    with pytest.raises(UserError) as caught:
        for one in engine(*servers, max_retries=1).generate([request("p", 60)], PARAMS):
            got.append(one)
            if len(got) == 10:
                for server in servers:
                    server.leave(Plan(drop=True))
    assert str(caught.value).startswith(f"{servers[0].url},{servers[1].url} answers no more; what is done is saved")
    assert 10 <= len(got) < 60
    assert {c.finish_reason for c in got} == {"stop"}


@pytest.mark.slow
def test_all_die_and_the_run_goes_on_later(
    servers: tuple[FakeServer, FakeServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    questions = [{"question": f"{i}+{i}?", "answer": str(2 * i)} for i in range(6)]
    problems = tmp_path / "sums.jsonl"
    problems.write_text("".join(json.dumps(row) + "\n" for row in questions), encoding="utf-8")
    well = servers[0].models
    left = iter(range(10))

    def plan(text: str) -> Plan:
        if next(left, None) is None:
            for server in servers:
                server.leave(Plan(drop=True))
        return servers[0].everything or Plan()

    for server in servers:
        server.plan = plan  # type: ignore[method-assign]
    urls = ",".join(server.url for server in servers)
    run = tmp_path / "run"
    words = ["eval", "-m", f"{urls}#m", "-b", str(problems), "-n", "4", "--max-tokens", "8", "-o", str(run)]
    monkeypatch.setattr(
        "sys.argv", ["expo-bench", *words, "engine_options.max_retries=1", "engine_options.concurrency=2"]
    )
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (f"expo-bench: {urls} answers no more; what is done is saved, the same command goes on from there")
    kept = list(RunFolder(run).samples())
    assert 0 < len(kept) < 24
    assert {row.finish_reason for row in kept} == {"stop"}
    left = iter(range(1000))
    for server in servers:
        server.everything, server.models = None, well
    again = CliRunner().invoke(app, ["eval", "--resume", str(run)])
    assert again.exit_code == 0, again.stderr
    rows = list(RunFolder(run).samples())
    assert len({(row.problem_id, row.sample_index) for row in rows}) == len(rows) == 24
    assert rows[: len(kept)] == kept
    assert RunFolder(run).read_manifest().model["url"] == urls


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"root": "/models/other"}, "root is '/models/other' and not '/models/m'"),
        ({"max_model_len": 128}, "max_model_len is 128 and not 512"),
        ({"owned_by": "sglang"}, "owned_by is 'sglang' and not 'vllm'"),
    ],
)
def test_different_models_are_refused(
    servers: tuple[FakeServer, FakeServer], changed: dict[str, Any], said: str
) -> None:
    card = {"id": "m", "root": "/models/m", "owned_by": "vllm", "max_model_len": 512}
    servers[0].models = Plan(body={"data": [card]})
    servers[1].models = Plan(body={"data": [{"id": "another"}, {**card, **changed}]})
    with pytest.raises(UserError) as caught:
        engine(*servers)
    assert str(caught.value) == f"{servers[1].url} does not serve what {servers[0].url} serves: {said}"
    servers[1].models = Plan(body={"data": [{"id": "m"}]})
    assert engine(*servers).describe()["max_model_len"] == 512


def test_an_endpoint_that_refuses_the_key_is_named(servers: tuple[FakeServer, FakeServer]) -> None:
    servers[1].everything = Plan(status=401, body={"error": {"message": "no"}})
    with pytest.raises(UserError) as caught:
        list(engine(*servers).generate([request("p", 20)], PARAMS))
    assert str(caught.value) == f"{servers[1].url} refuses the key: set OPENAI_API_KEY to one that it takes"


def test_scoring_uses_all_and_survives_one(
    servers: tuple[FakeServer, FakeServer], caplog: pytest.LogCaptureFixture
) -> None:
    subject = engine(*servers, concurrency=2, max_retries=0)
    assert subject.tokenize("ab") == (97, 98, END)
    asked = [
        ScoreRequest(
            problem_id=str(place),
            messages=({"role": "user", "content": str(place)},),
            continuations=(Continuation(key="a", token_ids=(97, 98)),),
        )
        for place in range(30)
    ]
    assert len(list(subject.score(asked))) == 30
    scored = [[one for one in server.seen if "prompt_logprobs" in one] for server in servers]
    assert min(map(len, scored)) > 5
    servers[0].leave(Plan(drop=True))
    assert sorted(int(one.problem_id) for one in subject.score(asked) if one.error is None) == list(range(30))
    assert notes(caplog) == [f"{servers[0].url} does not answer: the other endpoints are asked in its place"]
    servers[1].leave(Plan(drop=True))
    with pytest.raises(UserError, match=f"{servers[1].url} does not score .* the same command goes on from there"):
        subject.tokenize("c")
    subject.close()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("http://a:1/v1,http://A:1/v1/#m", "http://a:1/v1 is given twice"),
        ("http://a:1/v1,#m", "must look like http://HOST:PORT/v1"),
        ("http://a:1/v1#m,http://b:1/v1#m", "or URL,URL#name"),
        ("http://a:1/v1,http://b:1/v1", "or URL,URL#name"),
    ],
)
def test_bad_addresses(model: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_engine(EngineSpec(model=model))


def test_a_chat_template_is_the_servers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave --chat-template out") as caught:
        open_engine(EngineSpec(model="http://a:1/v1#m", chat_template=tmp_path / "t.jinja"))
    assert "\n" not in str(caught.value)


def test_no_secret_of_a_further_endpoint_is_kept() -> None:
    for second in ("http://user:hunter2@b:1/v1", "http://b:1/v1?token=hunter2", "http://user:com,hunter2@b:1/v1"):
        with pytest.raises(UserError, match="OPENAI_API_KEY") as caught:
            load_config(None, {"model": f"http://a:1/v1,{second}#m", "benchmarks": ["micro"]})
        assert "hunter2" not in str(caught.value)
