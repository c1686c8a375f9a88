"""vLLM's own process dies in the midst of a run, as where the system kills what takes too much memory."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from expo_bench.store import RunFolder

pytestmark = pytest.mark.real

COMMAND = str(Path(sys.executable).with_name("expo-bench"))
# vLLM's scheduler lies in the command's process, or in one of its own as on a GPU
PLACES = {"0": "VLLM::Worker", "1": "VLLM::EngineCore"}


@pytest.mark.parametrize("separate", PLACES)
def test_a_process_of_vllm_is_killed(
    vllm_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separate: str
) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", separate)
    words = [COMMAND, "eval", "-m", "micro", "-b", "micro", "-n", "16", "--limit", "24", "--max-tokens", "64"]
    words += ["--engine", "vllm", "-o", str(tmp_path / "run"), "engine_options.max_num_seqs=4"]
    run = RunFolder(tmp_path / "run")
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not run.samples_path.is_file() or run.samples_path.stat().st_size == 0:
        assert running.poll() is None and time.monotonic() - began < 200
        time.sleep(0.05)
    processes = psutil.Process(running.pid).children(recursive=True)
    next(one for one in processes if one.cmdline()[:1] == [PLACES[separate]]).kill()
    _, said = running.communicate(timeout=120)
    assert running.returncode == 2, said[-3000:]
    # Python's own processes may complain behind it
    (last,) = (line for line in said.splitlines() if line.startswith("expo-bench:"))
    print(last)
    assert "vLLM failed" in last
    assert "engine_options.gpu_memory_utilization" in last
    assert "Traceback" not in said.partition(last)[2]
    kept = run.samples_path.read_bytes()
    assert 0 < sum(1 for _ in run.samples()) < 384

    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert run.samples_path.read_bytes().startswith(kept)
    assert len({(row.problem_id, row.sample_index) for row in run.samples()}) == 384
