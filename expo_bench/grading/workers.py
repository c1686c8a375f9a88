"""A pool of killable processes: an item that hangs, crashes or eats memory costs only itself.

Each worker is `python -m MODULE`, started afresh, so that nothing of the parent (threads, CUDA, a notebook) comes
along; `serving` is its side. Frames go there: a length, then a JSON list of [id, function, arguments]. Lines come
back: [id, value, seconds, died], where `died` says that the process at work did, and with it the rest of its frame.

By hand, since no kept pool (pebble, loky) limits the memory and processor time of one item, or replaces a process that
it kills by a fork behind an import of a second.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from expo_bench.grading.serving import HEADER, READY, Limits, Value

_FRAME_ITEMS = 16
_FRAMES = 2  # a worker has the next frame at hand when it ends one
_FRAME_BYTES = 16_384  # the frames that wait fit into the pipe, so that writing one never blocks
_START_SECONDS = 120.0
_GRACE_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class Job:
    """One item. `value` is None until it is done."""

    function: str
    arguments: tuple[str, ...]
    value: Value | None = None
    seconds: float = 0.0
    callbacks: list[Callable[["Job"], None]] = field(default_factory=list)

    def then(self, callback: Callable[["Job"], None]) -> None:
        """Call back when the job is done, at once if it is."""
        if self.value is None:
            self.callbacks.append(callback)
        else:
            callback(self)

    def finish(self, value: Value, seconds: float) -> None:
        """Set the value and call back, the first time."""
        if self.value is None:
            self.value, self.seconds = value, seconds
            for callback in self.callbacks:
                callback(self)
            self.callbacks.clear()


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    inbox: IO[bytes]
    outbox: IO[bytes]
    heard: float
    """When it last said something or was given something after being idle."""
    ready: bool = False
    unread: bytes = b""
    frames: deque[dict[int, Job]] = field(default_factory=deque)
    """What it was given and has not finished, in order."""

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.outbox.close()
        with contextlib.suppress(BrokenPipeError):
            self.inbox.close()
        self.process.wait()


class Pool:
    """Starts workers as they are needed. Not for several threads at once."""

    def __init__(self, module: str, *, workers: int, limits: Limits) -> None:
        self._module = module
        self._size = workers
        self._limits = limits
        self._queue: deque[Job] = deque()
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._count = 0

    @property
    def queued(self) -> int:
        """Jobs that no worker has been given yet."""
        return len(self._queue)

    def submit(self, function: str, *arguments: str) -> Job:
        """Put a job into the queue; `poll` gives it to a worker."""
        job = Job(function, arguments)
        self._queue.append(job)
        return job

    def poll(self, seconds: float = 0.0) -> None:
        """Give out jobs and take in results, waiting for one at most so long.

        Raises:
            RuntimeError: a worker cannot be started.
        """
        self._give_out()
        for key, _ in self._selector.select(seconds):
            self._hear(key.data)
        now = time.monotonic()
        for worker in list(self._workers):
            patience = self._limits.wall_seconds + _GRACE_SECONDS if worker.ready else _START_SECONDS
            if worker.frames and now - worker.heard > patience:
                self._bury(worker, "timeout")  # the kernel should have ended it: a stopped process, for instance
        self._give_out()

    def close(self) -> None:
        """End the workers, whatever they are at."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._selector.close()
        self._selector = selectors.DefaultSelector()

    def _give_out(self) -> None:
        while self._queue:
            worker = min(self._workers, key=lambda worker: len(worker.frames), default=None)
            if worker is None or (worker.frames and len(self._workers) < self._size):
                worker = self._start()
            if len(worker.frames) >= _FRAMES:
                return
            self._give(worker)

    def _start(self) -> _Worker:
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        limits = (self._limits.cpu_seconds, self._limits.wall_seconds, self._limits.memory_mb)
        process = subprocess.Popen(
            # -P: no module of the current folder takes the place of an installed one
            [sys.executable, "-P", "-m", self._module, *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"},
            start_new_session=True,  # ctrl-C is the parent's to handle, and the group can be killed
        )
        assert process.stdin and process.stdout
        worker = _Worker(process, process.stdin, process.stdout, heard=time.monotonic())
        self._workers.append(worker)
        self._selector.register(worker.outbox, selectors.EVENT_READ, worker)
        return worker

    def _give(self, worker: _Worker) -> None:
        size = max(1, min(_FRAME_ITEMS, len(self._queue) // (_FRAMES * self._size)))
        frame: dict[int, Job] = {}
        items: list[str] = []
        n_bytes = 0
        while self._queue and len(frame) < size:
            job = self._queue[0]
            item = json.dumps([self._count, job.function, job.arguments])
            n_bytes += len(item)
            if frame and n_bytes > _FRAME_BYTES:
                break
            frame[self._count] = self._queue.popleft()
            items.append(item)
            self._count += 1
        if not worker.frames:
            worker.heard = time.monotonic()
        worker.frames.append(frame)
        body = f"[{','.join(items)}]".encode()
        try:
            worker.inbox.write(HEADER.pack(len(body)) + body)
            worker.inbox.flush()
        except BrokenPipeError:
            self._bury(worker, "error")

    def _hear(self, worker: _Worker) -> None:
        data = os.read(worker.outbox.fileno(), 65536)
        if not data:
            self._bury(worker, "error")
            return
        worker.heard = time.monotonic()
        *lines, worker.unread = (worker.unread + data).split(b"\n")
        for line in lines:
            identifier, value, seconds, died = json.loads(line)
            if identifier == READY:
                worker.ready = True
                continue
            frame = worker.frames[0]
            job = frame.pop(identifier)
            if died:
                self._queue.extendleft(reversed(frame.values()))
                frame.clear()
            if not frame:
                worker.frames.popleft()
            job.finish(value, seconds)

    def _bury(self, worker: _Worker, value: Literal["timeout", "error"]) -> None:
        """Replace a worker that is gone or silent; the job that it was at is to blame."""
        self._selector.unregister(worker.outbox)
        self._workers.remove(worker)
        worker.kill()
        if not worker.ready:
            raise RuntimeError(f"{self._module} does not start (exit {worker.process.returncode}), see its message")
        jobs = [job for frame in worker.frames for job in frame.values()]
        self._queue.extendleft(reversed(jobs[1:]))
        if jobs:
            jobs[0].finish(value, time.monotonic() - worker.heard)
