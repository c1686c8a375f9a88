"""Replicas in a real Ray: two nodes on this machine, one of which is killed half way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from expo_bench.rows import Sample
from expo_bench.storage.run_folder import RunFolder
from tests.faults.table import Faults

ray = pytest.importorskip("ray")
SAMPLING = ["eval", "-m", "micro", "-b", "micro", "--levels", "2,3,4", "-n", "32"]
N_SAMPLES = 120 * 32


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "expo_bench", *words]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=300)


def by_key(path: Path) -> dict[tuple[str, int], Sample]:
    rows = list(RunFolder(path).samples())
    found = {(row.problem_id, row.sample_index): row for row in rows}
    assert len(found) == len(rows), "a sample was written twice"
    return found


def lost(path: Path, other: Path) -> int:
    """Return how many samples of the other run are missing or differ, log-probabilities by more than rounding."""
    mine, theirs = by_key(path), by_key(other)
    assert mine.keys() <= theirs.keys()
    same = (
        (row.text, row.token_ids) == (theirs[key].text, theirs[key].token_ids)
        and row.sum_logprob == pytest.approx(theirs[key].sum_logprob, abs=1e-3)
        for key, row in mine.items()
    )
    return len(theirs) - sum(same)


def wait_for_samples(path: Path, n: int, process: "subprocess.Popen[Any]") -> None:
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        if (path / "samples.jsonl").is_file() and (path / "samples.jsonl").read_bytes().count(b"\n") >= n:
            return
        time.sleep(0.02)
    raise AssertionError(f"not {n} samples, exit code {process.poll()}")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alone") / "run"
    assert run(*SAMPLING, "-o", str(path)).returncode == 0
    assert len(by_key(path)) == N_SAMPLES
    return path


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    # as `import_ray` has it: beside other work, workers that are nice by Ray's 15 would stand still
    monkeypatch.setenv("RAY_worker_niceness", "0")

    memory = {"object_store_memory": 100 * 2**20}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **memory})
    found.second = found.add_node(num_cpus=1, **memory)
    yield found
    found.shutdown()


@pytest.mark.slow
@pytest.mark.fault
def test_a_node_that_is_killed_half_way_costs_nothing(
    cluster: Any, alone: Path, tmp_path: Path, faults: Faults
) -> None:
    path = tmp_path / "run"
    words = [*SAMPLING, "--replicas", "2", "--ray-address", cluster.address, "-o", str(path)]
    with subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True) as process:
        wait_for_samples(path, N_SAMPLES // 3, process)
        assert _replica_nodes(cluster) == 2
        cluster.remove_node(cluster.second, allow_graceful=False)
        at_the_kill = len(by_key(path))
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert at_the_kill < N_SAMPLES
    assert f"sampling {N_SAMPLES}/{N_SAMPLES}" in errors
    faults.record("one of two Ray nodes killed after a third of 3,840 samples", 1, lost(path, alone))


def _replica_nodes(cluster: Any) -> int:
    """Return on how many nodes a replica works."""
    workers = [
        process
        for node in cluster.list_all_nodes()
        for process in psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
        if process.cmdline() and process.cmdline()[0].startswith("ray::Replica")
    ]
    return len({worker.parent().pid for worker in workers})


@pytest.mark.fault
def test_a_replica_that_is_killed_is_replaced(alone: Path, tmp_path: Path, faults: Faults) -> None:
    path = tmp_path / "run"
    with subprocess.Popen(command(*SAMPLING, "--replicas", "2", "-o", str(path)), stderr=subprocess.PIPE) as process:
        for part in (1, 2, 3):
            wait_for_samples(path, part * N_SAMPLES // 5, process)
            replicas = _replicas(process.pid)
            assert replicas
            replicas[part % len(replicas)].kill()
        process.communicate(timeout=300)
    assert process.returncode == 0
    faults.record("a replica killed, three times in a run", 3, lost(path, alone))


def _replicas(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children(recursive=True)
    return [one for one in children if "".join(one.cmdline()[:1]).startswith("ray::Replica")]


@pytest.mark.fault
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_and_leaves_no_process_behind(
    alone: Path, tmp_path: Path, faults: Faults, stop: int
) -> None:
    path = tmp_path / "run"
    words = command(*SAMPLING, "--replicas", "2", "-o", str(path))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for_samples(path, N_SAMPLES // 4, process)
        family = psutil.Process(process.pid).children(recursive=True)
        # ctrl-C reaches the whole group
        os.killpg(process.pid, stop) if stop == signal.SIGINT else process.kill()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    if stop == signal.SIGINT:
        assert "stopped; what was done is saved" in errors
        assert "Traceback" not in errors
    # Ray's own agents look for their parent now and then
    _, alive = psutil.wait_procs(family, timeout=120)
    assert alive == []
    assert 0 < len(by_key(path)) < N_SAMPLES
    again = run(*SAMPLING, "--replicas", "2", "-o", str(path))
    assert again.returncode == 0, again.stderr
    name = "ctrl-C" if stop == signal.SIGINT else "kill -9"
    faults.record(f"{name} of a run with two replicas, then the command again", 1, lost(path, alone))


@pytest.mark.slow
def test_replicas_score_as_one_engine_does(tmp_path: Path) -> None:
    path = tmp_path / "run"
    words = ["-m", "micro", "-b", "micro", "--levels", "2,3", "--n-own", "2", "--per-source", "1"]
    made = run("candidates", *words, "--replicas", "2", "-o", str(path))
    assert made.returncode == 0, made.stderr
    assert run("likelihood", str(path), "-m", "micro").returncode == 0
    one = {(row.problem_id, row.candidate_id): row for row in RunFolder(path).likelihoods("micro")}
    RunFolder(path).likelihoods_path("micro").unlink()
    scored = run("likelihood", str(path), "-m", "micro", "--replicas", "2", "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["metrics"]
    two = {(row.problem_id, row.candidate_id): row for row in RunFolder(path).likelihoods("micro")}
    assert one
    assert one.keys() == two.keys()
    for key, row in one.items():
        assert two[key].mean_logprob == pytest.approx(row.mean_logprob, abs=1e-4)
        assert two[key].answer_logprob_with == pytest.approx(row.answer_logprob_with, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--replicas", "64"], "--replicas 64: each takes a processor"),
        (["--replicas", "2", "--ray-address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["--replicas", "2", "batch=3"], "batch: no such setting"),
        (
            ["--replicas", "1", "engine_options.batch=3"],
            "engine_options.batch (did you mean batch_size?): no such",
        ),
        (["--ray-address", "auto"], "set their number too (--replicas)"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path: Path, words: list[str], message: str) -> None:
    ended = run("eval", "-m", "micro", "-b", "micro", "-n", "1", *words, "-o", str(tmp_path / "run"))
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith("expo-bench: ")
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
