import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from expo_bench.grading import workers
from expo_bench.grading.serving import Limits
from expo_bench.grading.workers import Job, Pool

HERE = Path(__file__).parent
MODULE = "misbehaving_worker"
LIMITS = Limits(cpu_seconds=0.2, wall_seconds=1.0, memory_mb=512)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    pool = Pool(MODULE, workers=2, limits=LIMITS)
    yield pool
    pool.close()


def wait(pool: Pool, jobs: list[Job]) -> list[object]:
    while any(job.value is None for job in jobs):
        pool.poll(1.0)
    return [job.value for job in jobs]


def test_results(pool: Pool) -> None:
    jobs = [pool.submit("is_even", str(number)) for number in range(500)]
    assert wait(pool, jobs) == [number % 2 == 0 for number in range(500)]
    assert all(0 <= job.seconds < 1 for job in jobs)


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("hang", "timeout"),
        ("hang_in_c", "timeout"),
        ("sleep", "timeout"),
        ("crash", "error"),
        ("leave", "error"),
        ("kill_group", "error"),
        ("fail", "error"),
        ("chatter", True),
        pytest.param("eat", "error", marks=pytest.mark.skipif(sys.platform != "linux", reason="no memory limit")),
    ],
)
def test_only_the_culprit_fails(pool: Pool, function: str, value: object) -> None:
    before = [pool.submit("is_even", "2") for _ in range(40)]
    culprit = pool.submit(function, "")
    after = [pool.submit("is_even", "3") for _ in range(40)]
    assert wait(pool, [*before, culprit, *after]) == [True] * 40 + [value] + [False] * 40


def test_a_stopped_worker_is_replaced(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_GRACE_SECONDS", 0.5)
    jobs = [pool.submit("stop", ""), *(pool.submit("is_even", "2") for _ in range(40))]
    assert wait(pool, jobs) == ["timeout"] + [True] * 40


def test_many_in_a_row(pool: Pool) -> None:
    jobs = [pool.submit(("crash", "hang", "is_even")[index % 3], "4") for index in range(30)]
    assert wait(pool, jobs) == ["error", "timeout", True] * 10


def test_arguments_larger_than_a_pipe(pool: Pool) -> None:
    jobs = [pool.submit("is_even", "2".zfill(size)) for size in (10, 1000, 4000, 200_000)]
    assert wait(pool, jobs) == [True, True, True, "error"]  # Python refuses to read so long a number


def test_a_worker_that_does_not_start(capfd: pytest.CaptureFixture[str]) -> None:
    pool = Pool("no_such_module", workers=1, limits=LIMITS)
    job = pool.submit("is_even", "2")
    with pytest.raises(RuntimeError, match="no_such_module does not start"):
        wait(pool, [job])
    assert "No module named no_such_module" in capfd.readouterr().err


def test_close_ends_a_hanging_worker(pool: Pool) -> None:
    pool.submit("sleep", "")
    while not any(worker.ready for worker in pool._workers):
        pool.poll(0.1)
    processes = [worker.process for worker in pool._workers]
    pool.close()
    assert all(process.poll() is not None for process in processes)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_after_their_parent_was_killed() -> None:
    script = (
        "from expo_bench.grading.workers import *; from expo_bench.grading.serving import Limits\n"
        f"pool = Pool({MODULE!r}, workers=2, limits=Limits(cpu_seconds=0.2, wall_seconds=1.0, memory_mb=512))\n"
        "jobs = [pool.submit('hang_in_c', '') for _ in range(8)]\n"
        "while not all(worker.ready for worker in pool._workers) or len(pool._workers) < 2: pool.poll(0.1)\n"
        "print(*(worker.process.pid for worker in pool._workers), flush=True)\n"
        "while True: pool.poll(0.1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout
    groups = set(map(int, parent.stdout.readline().split()))
    assert len(groups) == 2 and _alive(groups)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 15
    while _alive(groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(groups)


def _alive(groups: set[int]) -> list[str]:
    """Return the processes of these groups that are no zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) in groups and state != "Z":
            found.append(stat.parent.name)
    return found
