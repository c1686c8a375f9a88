"""Workers of the grader that eat memory, hang or die: the item gets its status, the others their verdicts."""

import resource
from pathlib import Path

import pytest

from expo_bench.grading.serving import Limits
from expo_bench.grading.workers import Pool
from tests.faults.table import Faults

pytestmark = pytest.mark.fault

FAULTS = {"eat": "eats memory", "hang": "hangs", "crash": "dies of a segmentation fault", "kill_group": "is killed"}
TRIALS = 10


@pytest.mark.parametrize("function", FAULTS)
def test_a_worker_that_misbehaves(monkeypatch: pytest.MonkeyPatch, faults: Faults, function: str) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "grading"))
    pool = Pool("misbehaving_worker", workers=2, limits=Limits(cpu_seconds=0.5, wall_seconds=2, memory_mb=1024))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    try:
        jobs = []
        for trial in range(TRIALS):
            jobs += [pool.submit("is_even", str(trial)), pool.submit(function, "x")]
        while any(job.value is None for job in jobs):
            pool.poll(0.05)
    finally:
        pool.close()
    assert [job.value for job in jobs[::2]] == [trial % 2 == 0 for trial in range(TRIALS)]
    assert {job.value for job in jobs[1::2]} <= {"error", "timeout"}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak <= max(before, 2 << 20), "a worker got past its limit of memory"
    lost = sum(job.value is None for job in jobs)
    faults.record(f"a worker of the grader {FAULTS[function]}", TRIALS, lost, f"status {jobs[1].value}")
