"""SmolLM2-135M-Instruct on real benchmark problems, through the command line, with each engine that is installed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from expo_bench.storage.run_folder import RunFolder

MODEL = Path(os.environ.get("EXPO_BENCH_REAL_MODEL", ".cache/SmolLM2-135M-Instruct")).resolve()
COMMAND = str(Path(sys.executable).with_name("expo-bench"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not MODEL.is_dir(), reason="the real model is not there: make test-real fetches it"),
    pytest.mark.skipif(not os.environ.get("EXPO_BENCH_DATA"), reason="EXPO_BENCH_DATA names no benchmark files"),
]


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_eval_on_math500_and_aime24(engine: str, tmp_path: Path) -> None:
    if engine == "vllm" and find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    words = ["eval", "-m", str(MODEL), "-b", "math500,aime24", "-n", "2", "--limit", "4", "--max-tokens", "64"]
    done = subprocess.run(
        [COMMAND, *words, "--engine", engine, "-o", "run", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = {(metric["name"], metric["subset"]): metric for metric in json.loads(done.stdout)["metrics"]}
    assert metrics["avg@2", "benchmark=math500"]["n_samples"] == 8
    run = RunFolder(tmp_path / "run")
    samples = list(run.samples())
    assert len({(row.problem_id, row.sample_index) for row in samples}) == len(samples) == 16
    # single samples of a small model at temperature 1 may go astray; a wrong template or position shows in all of them
    assert all(row.sum_logprob is not None and row.sum_logprob < 0 for row in samples)
    assert -4 < sum(row.sum_logprob or 0.0 for row in samples) / sum(row.n_tokens for row in samples) < -0.3
    manifest = run.read_manifest()
    assert manifest.model["engine"] == engine
    assert {one["digest_status"] for one in manifest.benchmarks.values()} == {"match"}
    assert (tmp_path / "run/report.html").stat().st_size > 10_000
