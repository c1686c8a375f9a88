"""vLLM's own process dies in the midst of a run, as where the system kills what takes too much memory."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from expo_bench.storage.run_folder import RunFolder
from tests.faults.table import Faults

pytestmark = pytest.mark.fault

COMMAND = str(Path(sys.executable).with_name("expo-bench"))
# vLLM's scheduler lies in the command's process, or in one of its own as on a GPU
PLACES = {"0": "VLLM::Worker", "1": "VLLM::EngineCore"}


N = 384


def command(run: RunFolder) -> list[str]:
    words = [COMMAND, "eval", "-m", "micro", "-b", "micro", "-n", "16", "--limit", "24", "--max-tokens", "64"]
    return [*words, "--engine", "vllm", "-o", str(run.path), "engine_options.max_num_seqs=4"]


def killed_while_it_samples(words: list[str], run: RunFolder, victim: str) -> tuple[int, list[str]]:
    """Run the command, kill one of its processes as soon as a sample is there; return exit code and last lines."""
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not run.samples_path.is_file() or run.samples_path.stat().st_size == 0:
        assert running.poll() is None
        assert time.monotonic() - began < 200
        time.sleep(0.05)
    processes = psutil.Process(running.pid).children(recursive=True)
    next(one for one in processes if one.cmdline()[:1] == [victim]).kill()
    _, said = running.communicate(timeout=300)
    return running.returncode, said.splitlines()


@pytest.mark.parametrize("separate", PLACES)
def test_a_process_of_vllm_is_killed(
    vllm_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults, separate: str
) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", separate)
    run = RunFolder(tmp_path / "run")
    code, lines = killed_while_it_samples(command(run), run, PLACES[separate])
    assert code == 2, lines[-30:]
    # Python's own processes may complain behind it
    (last,) = (line for line in lines if line.startswith("expo-bench:"))
    assert "vLLM failed" in last
    assert "engine_options.gpu_memory_utilization" in last
    assert "Traceback (most recent call last):" not in lines[lines.index(last) :]
    kept = run.samples_path.read_bytes()
    assert 0 < sum(1 for _ in run.samples()) < N

    again = subprocess.run(command(run), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert run.samples_path.read_bytes().startswith(kept)
    missing = N - len({(row.problem_id, row.sample_index) for row in run.samples()})
    faults.record(f"vLLM's process {PLACES[separate]} killed, then the command again", 1, missing, last)


def test_a_replica_whose_vllm_is_killed_is_replaced(vllm_here: None, tmp_path: Path, faults: Faults) -> None:
    run = RunFolder(tmp_path / "run")
    code, lines = killed_while_it_samples([*command(run), "--replicas", "2"], run, "VLLM::Worker")
    assert code == 0, lines[-30:]
    (line,) = (line for line in lines if "a replica is lost, another takes its place" in line)
    samples = list(run.samples())
    assert len(samples) == len({(row.problem_id, row.sample_index) for row in samples}) == N
    errors = sum(row.finish_reason == "error" for row in samples)
    faults.record("vLLM's worker of one of two replicas killed", 1, errors, line.strip())
