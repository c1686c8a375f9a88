"""kill -9, ctrl-C twice and a clock that runs backwards: what was written stays, what is missing is done."""

import itertools
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expo_bench.storage.run_folder import RunFolder
from tests.evaluation import test_pipeline
from tests.faults import pipeline, processes
from tests.faults.table import Faults
from tests.trainers import test_kill

pytestmark = pytest.mark.fault


@pytest.mark.parametrize(
    ("stages", "before", "words"),
    [
        ("sample, grade, metrics, report", [], pipeline.EVAL),
        ("sample, explain, grade, candidates", [], pipeline.CANDIDATES),
        ("likelihood, its metrics, report", [pipeline.CANDIDATES], pipeline.LIKELIHOOD),
        ("problems, samples, grade, metrics, report", [], pipeline.IMPORT),
    ],
)
def test_killed_at_every_write(
    tmp_path: Path, faults: Faults, stages: str, before: list[list[str]], words: list[str]
) -> None:
    (tmp_path / "whole").mkdir()
    expected = pipeline.uninterrupted(tmp_path / "whole", *before, words)
    ready = tmp_path / "ready"
    ready.mkdir()
    pipeline.write_problems(ready)
    for earlier in before:
        assert processes.run(ready, earlier).code == 0
    lost = 0
    for number in itertools.count():
        folder = tmp_path / str(number)
        shutil.copytree(ready, folder)
        killed = processes.run(folder, words, processes.KillAtWrite(number))
        if killed.code == 0:
            break
        assert killed.code == processes.KILLED, killed.errors
        ended = processes.run(folder, words)
        assert ended.code == 0, f"after write {number}: {ended.errors}"
        lost += pipeline.lost(expected, folder / "run")
        assert RunFolder(folder / "run").read_manifest().status == "finished"
        shutil.rmtree(folder)
    assert number > 10
    faults.record(f"kill -9 at every write of {words[0]} ({stages}), then the command again", number, lost)


def test_killed_while_it_samples(tmp_path: Path, faults: Faults) -> None:
    test_pipeline.test_twenty_kills_lose_no_row_and_change_none(tmp_path)
    faults.record("kill -9 at random moments of eval, 1600 samples", 20, 0)


def test_killed_while_it_trains(tmp_path: Path, faults: Faults) -> None:
    test_kill.test_ten_kills_change_nothing(tmp_path)
    faults.record("kill -9 at random steps of train", test_kill.KILLS, 0)


def test_interrupted_twice(tmp_path: Path, faults: Faults) -> None:
    pipeline.write_problems(tmp_path, 40)
    words = [*pipeline.EVAL, "n=8", "max_tokens=48"]
    command = [sys.executable, "-m", "expo_bench", *words]
    gaps = (0.0, 0.02, 0.1, 0.3)
    message = ""
    for gap in gaps:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            test_pipeline._wait_for_samples(tmp_path / "run", 2)
            process.send_signal(signal.SIGINT)
            time.sleep(gap)
            process.send_signal(signal.SIGINT)
            errors = process.communicate(timeout=60)[1]
        assert process.returncode in (130, -signal.SIGINT)
        keys = [(row.problem_id, row.sample_index) for row in RunFolder(tmp_path / "run").samples()]
        assert len(set(keys)) == len(keys) >= 2
        message = errors.strip().splitlines()[-1] if "Traceback" not in errors else message
        assert "Traceback" not in errors, errors
    ended = processes.run(tmp_path, words)
    assert ended.code == 0, ended.errors
    n_samples = sum(1 for _ in RunFolder(tmp_path / "run").samples())
    faults.record("ctrl-C twice, 0 to 0.3 s apart", len(gaps), 320 - n_samples, message)


def test_the_clock_runs_backwards(tmp_path: Path, faults: Faults) -> None:
    for name in ("whole", "backwards"):
        (tmp_path / name).mkdir()
    expected = pipeline.uninterrupted(tmp_path / "whole", pipeline.CANDIDATES, pipeline.LIKELIHOOD)
    folder = tmp_path / "backwards"
    pipeline.write_problems(folder)
    for words in (pipeline.CANDIDATES, pipeline.LIKELIHOOD):
        ended = processes.run(folder, words, processes.clock_backwards)
        assert ended.code == 0, ended.errors
    manifest = RunFolder(folder / "run").read_manifest()
    assert manifest.finished is not None
    assert manifest.finished < manifest.started, "the clock did not run backwards"
    faults.record("clock going backwards an hour at each look", 2, pipeline.lost(expected, folder / "run"))


def test_two_processes_on_one_folder(tmp_path: Path, faults: Faults) -> None:
    pipeline.write_problems(tmp_path, 40)
    words = [*pipeline.EVAL, "n=8"]
    command = [sys.executable, "-m", "expo_bench", *words]
    messages = []
    for _ in range(5):
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as first:
            path = tmp_path / "run" / "samples.jsonl"
            before = path.read_bytes().count(b"\n") if path.exists() else 0
            test_pipeline._wait_for_samples(tmp_path / "run", before + 1)
            second = processes.run(tmp_path, words)
            messages.append(second.message)
            assert first.poll() is None, "the first had ended before the second began"
            first.kill()
        assert second.code == 2, second.errors
        assert "another process" in second.message
        assert "Traceback" not in second.errors
    ended = processes.run(tmp_path, words)
    assert ended.code == 0, ended.errors
    n_samples = len({(row.problem_id, row.sample_index) for row in RunFolder(tmp_path / "run").samples()})
    faults.record("two processes on one run folder; the lock's owner killed", 5, 320 - n_samples, messages[0])
