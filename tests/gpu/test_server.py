"""vLLM's server on a GPU, through the server engine, against the same policy on the CPU."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import expo_bench
from expo_bench.config import EngineSpec
from expo_bench.engines.server.engine import ServerEngine
from expo_bench.engines.transformers.engine import TransformersEngine
from tests.gpu.test_engines import GREEDY, MOST, chains, drawn, questions, scored
from tests.real.test_server import wait_for

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

MICRO = Path(expo_bench.__file__).parent / "assets" / "micro"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("vllm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(MICRO), "--port", str(port)]
    options = ["--host", "127.0.0.1", "--served-model-name", "micro", "--dtype", "float32", "--max-model-len", "256"]
    with (tmp_path / "log").open("wb") as output:
        server = subprocess.Popen([*command, *options, "--gpu-memory-utilization", "0.3"], stdout=output, stderr=output)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, tmp_path / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def test_server_agrees_with_the_cpu(url: str) -> None:
    engine, reference = (
        ServerEngine(EngineSpec(model=f"{url}#micro")),
        TransformersEngine(EngineSpec(model="micro", dtype="float32", engine_options={"device": "cpu"})),
    )
    try:
        got, expected = drawn(engine, questions(12), GREEDY), drawn(reference, questions(12), GREEDY)
        assert [got[key].text for key in expected] == [one.text for one in expected.values()]
        found, wanted = scored(engine, chains(engine, 6)), scored(reference, chains(reference, 6))
        for key, one in wanted.items():
            assert np.abs(found[key].logprobs - one.logprobs).mean() < MOST["float32"]
    finally:
        engine.close()
