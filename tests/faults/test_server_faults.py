"""A server that misbehaves under a whole run: each sample ends as a row, and what failed can be drawn again."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from expo_bench.grading.judge import GRADER
from expo_bench.storage.run_folder import RunFolder
from tests.engines.server.fake_server import FakeServer, Plan
from tests.faults import pipeline, processes
from tests.faults.table import Faults

pytestmark = pytest.mark.fault

FAULTS = {
    "status 500": Plan(status=500, body="oops"),
    "status 429 with Retry-After": Plan(status=429, headers={"Retry-After": "0.2"}, body="later"),
    "no answer in time": Plan(wait=3),
    "dropped connections": Plan(drop=True),
    "truncated bodies": Plan(cut=True),
    "truncated JSON": Plan(body='{"choices": [{"message": {"con'),
    "malformed JSON": Plan(body="<html>"),
    "two completions where one was asked for": Plan(edit=lambda body: body["choices"].append(body["choices"][0])),
    "no completion": Plan(body={"choices": []}),
    "a byte now and then": Plan(drip=0.1),
}
N_PROBLEMS, N = 4, 4


class Moody(FakeServer):
    """Answers some requests with a fault: the probe never, others with the given probability."""

    def __init__(self, fault: Plan, probability: float) -> None:
        super().__init__()
        self.fault, self.probability, self.draw, self.hits = fault, probability, random.Random(0), 0

    def plan(self, text: str) -> Plan:
        with self.guard:
            probe = "Hi" in text and "Compute" not in text
            hit = not probe and self.draw.random() < self.probability
            self.hits += hit
        return self.fault if hit else Plan()


def _words(server: FakeServer, **options: Any) -> list[str]:
    chosen = {"timeout_seconds": 1, "max_retries": 8, "concurrency": 4, **options}
    return [
        *f"eval -m {server.url}#m -b sums.jsonl -n {N} --max-tokens 16 -o run".split(),
        *(f"engine_options.{name}={value}" for name, value in chosen.items()),
    ]


def _short_pauses() -> None:
    from expo_bench.engines.server import backoff

    backoff.FIRST_SECONDS = 0.01


@pytest.mark.parametrize("name", FAULTS)
def test_some_requests_fail(tmp_path: Path, faults: Faults, name: str) -> None:
    pipeline.write_problems(tmp_path, N_PROBLEMS)
    with Moody(FAULTS[name], 0.3) as server:
        ended = processes.run(tmp_path, _words(server), _short_pauses)
        assert ended.code == 0, ended.errors
        rows = list(RunFolder(tmp_path / "run").samples())
        keys = {(row.problem_id, row.sample_index) for row in rows}
        assert len(keys) == len(rows)
        assert server.hits > 0
        assert all(row.finish_reason == "stop" for row in rows)
        faults.record(f"server: {name}, 3 of 10 requests", server.hits, N_PROBLEMS * N - len(keys))


@pytest.mark.parametrize("name", FAULTS)
def test_every_request_fails_until_the_server_is_well_again(tmp_path: Path, faults: Faults, name: str) -> None:
    pipeline.write_problems(tmp_path, N_PROBLEMS)
    began = time.monotonic()
    with Moody(FAULTS[name], 1.0) as server:
        words = _words(server, max_retries=1, concurrency=8)
        ended = processes.run(tmp_path, words, _short_pauses)
        assert ended.code == 0, ended.errors
        run = RunFolder(tmp_path / "run")
        failed = list(run.samples())
        assert len(failed) == N_PROBLEMS * N
        assert {row.finish_reason for row in failed} == {"error"}
        assert {row.status for row in run.grades(GRADER)} == {"error"}
        server.probability = 0.0
        again = processes.run(tmp_path, ["eval", "--resume", "run", "--redraw-errors"])
        assert again.code == 0, again.errors
        good = {(row.problem_id, row.sample_index) for row in run.samples() if row.finish_reason == "stop"}
        hits = server.hits
    assert time.monotonic() - began < 60
    lost = N_PROBLEMS * N - len(good)
    faults.record(f"server: {name}, every request, later well and --redraw-errors", hits, lost, failed[0].error or "")
