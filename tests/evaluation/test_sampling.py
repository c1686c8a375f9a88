"""The sampling stage with a fake engine: which samples are drawn, and with which seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.evaluation.sampling import Sampling
from expo_bench.prompts import BOXED
from expo_bench.storage.run_folder import RunFolder
from tests import fakes

PARAMS = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=16)
PROBLEMS = [fakes.problem(number) for number in range(5)]


def of(n: int, **settings: Any) -> Sampling:
    return Sampling(prompt=BOXED, params=PARAMS, n=n, seed=11, **settings)


def _draw(run: RunFolder, engine: fakes.SeededGenerator, n: int = 4, thinking_tokens: int | None = None) -> None:
    stage = of(n, thinking_tokens=thinking_tokens)
    stage.draw(run, stage.missing(run, PROBLEMS), engine)


def test_a_stopped_run_goes_on_and_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    _draw(whole, fakes.SeededGenerator())
    with pytest.raises(KeyboardInterrupt):
        _draw(stopped, fakes.SeededGenerator(fail_after=7))
    before = stopped.samples_path.read_bytes()
    assert len(list(stopped.samples())) == 7
    _draw(stopped, fakes.SeededGenerator())
    assert stopped.samples_path.read_bytes().startswith(before)
    rows = [sorted(run.samples(), key=lambda row: (row.problem_id, row.sample_index)) for run in (whole, stopped)]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 20


def test_a_finished_run_asks_nothing_of_the_engine(tmp_path: Path) -> None:
    run, engine = RunFolder(tmp_path), fakes.SeededGenerator()
    _draw(run, engine)
    _draw(run, engine)
    assert len(engine.calls) == 1


def test_more_samples_extend_a_run(tmp_path: Path) -> None:
    run, engine = RunFolder(tmp_path), fakes.SeededGenerator()
    _draw(run, engine, n=2)
    _draw(run, engine, n=3)
    assert [request.sample_indexes for request in engine.calls[1]] == [(2,)] * 5
    assert of(3).missing(run, PROBLEMS) == []


def test_seeds_are_fixed_and_differ() -> None:
    # the value is part of the format: a new one would change every published run
    assert replace(of(1), seed=0).seed_of("toy-0", 0) == int.from_bytes(bytes.fromhex("f9e5957406da"))
    runs = [replace(of(1), seed=run) for run in range(2)]
    seeds = {run.seed_of(f"p{number}", index) for run in runs for number in range(50) for index in range(50)}
    assert len(seeds) == 5000


def test_thoughts_have_their_own_budget(tmp_path: Path) -> None:
    run, engine = RunFolder(tmp_path), fakes.SeededGenerator()
    _draw(run, engine, n=2, thinking_tokens=9)
    first, second = engine.calls
    assert len(first) == 5
    assert len(second) == 10
    assert all(request.prefix.endswith("\n</think>\n\n") for request in second)
    rows = list(run.samples())
    assert len({(row.problem_id, row.sample_index) for row in rows}) == len(rows) == 10
    assert all("</think>\n\ncontinued " in row.text and row.n_tokens == 2 and row.sum_logprob == -1.0 for row in rows)


def test_errors_are_kept_unless_they_are_to_be_drawn_again(tmp_path: Path) -> None:
    class Failing(fakes.SeededGenerator):
        def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
            for done in super().generate(requests, params):
                failed = done.sample_index == 1
                yield replace(done, finish_reason="error", error="no answer", text="") if failed else done

    whole, run, engine = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run"), fakes.SeededGenerator()
    _draw(whole, engine)
    _draw(run, Failing())
    assert of(4).missing(run, PROBLEMS) == []
    assert of(4, redraw_errors=True).missing(run, PROBLEMS) == [(problem, [1]) for problem in PROBLEMS]
    run.drop_errors()
    before = run.samples_path.read_bytes()
    _draw(run, engine)
    assert run.samples_path.read_bytes().startswith(before)
    rows = [sorted(one.samples(), key=lambda row: (row.problem_id, row.sample_index)) for one in (whole, run)]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 20
