"""Progress in a log: what is being written shows before the first sample is whole."""

import threading

import pytest

from expo_bench.commands import progress
from expo_bench.commands.progress import Stage, TerminalProgress
from expo_bench.config import EngineSpec
from expo_bench.engines.base import Gauge, Request, SamplingParams
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.evaluation.progress import Tally, counting
from expo_bench.problems import micro
from expo_bench.prompts import BOXED


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_tokens_of_unfinished_samples_count(clock: list[float]) -> None:
    gauge = Gauge()
    stage = Stage("sampling", 10, 4, gauge, tally := Tally())
    assert stage.line() == "sampling 4/10"
    clock[0] += 2
    gauge.running, gauge.tokens = 3, 60
    assert stage.line() == "sampling 4/10  30 tokens/s, 3 running"
    clock[0] += 2
    gauge.running, gauge.tokens = 2, 50
    stage.advance(30)
    # the one that ended is a short one, and two run: a time taken from it would be too long
    assert stage.line() == "sampling 5/10  20 tokens/s, 2 running"
    gauge.running = 1
    assert stage.line() == "sampling 5/10  20 tokens/s, 1 running  20 s left"
    tally.count(True)
    tally.count(False)
    assert stage.line() == "sampling 5/10  20 tokens/s, 1 running, 50.0% right  20 s left"


def test_grading_tells_how_many_are_right_so_far(
    monkeypatch: pytest.MonkeyPatch, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with TerminalProgress() as shown:
        count = counting(shown, 4)
        for correct in (True, None, False, True):
            count(correct)
    assert capsys.readouterr().err.strip() == "grading 4/4  66.7% right  0 s left"
    assert Stage("grading", 4, 0, None, Tally()).line() == "grading 0/4"


def test_a_log_has_a_line_before_the_first_sample_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_FIRST_LINE_SECONDS", 0.01)
    said = threading.Event()
    lines: list[str] = []

    class Heard(TerminalProgress):
        def note(self, text: str) -> None:
            lines.append(text)
            said.set()

    with Heard() as shown:
        advance = shown.start("sampling", 2, 0, Gauge(running=2, tokens=7))
        assert said.wait(5)
        advance(3)
        advance(4)
    assert lines[0].startswith("sampling 0/2  ") and lines[0].endswith("tokens/s, 2 running")
    assert lines[-1].startswith("sampling 2/2  ")


def test_the_log_goes_on_with_training_after_an_evaluation_in_its_midst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_FIRST_LINE_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_LOG_SECONDS", 0.01)
    said = {name: threading.Event() for name in ("training 1/2", "sampling 0/1", "training 2/2")}

    class Heard(TerminalProgress):
        def note(self, text: str) -> None:
            said.setdefault(text.partition("  ")[0], threading.Event()).set()

    with Heard() as shown:
        train = shown.start("training", 2, 0)
        train(0)
        assert said["training 1/2"].wait(5)
        sample = shown.start("sampling", 1, 0)
        assert said["sampling 0/1"].wait(5)
        sample(0)
        said["training 1/2"].clear()
        assert said["training 1/2"].wait(5)
        train(0)
    assert said["training 2/2"].is_set()


def test_the_engine_tells_what_it_writes() -> None:
    engine = TransformersEngine(EngineSpec(model="micro"))
    questions = [
        Request(problem_id=one.problem_id, messages=BOXED.messages(one), sample_indexes=(0, 1), seeds=(1, 2))
        for one in micro.load("test")[:6]
    ]
    seen = [
        (engine.gauge.running, engine.gauge.tokens)
        for _ in engine.generate(questions, SamplingParams(temperature=1.0, top_p=1.0, max_tokens=40))
    ]
    assert len(seen) == 12
    assert seen[0][1] >= seen[0][0] > 0
    assert all(running < 12 for running, _ in seen)
    assert seen[-1] == (0, 0)
