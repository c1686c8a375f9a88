"""A worker's side of `workers`: does what it is asked within limits, whatever happens to its parent.

It has imported once what it needs, and forks a child that does the work. Timers of the kernel end the child when an
item uses up its processor or wall-clock time, even in the midst of C code; a fork later the next item begins. When the
parent is gone, the child reads the end of its input after the item that it is at, and both end.
"""

import contextlib
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Value = bool | Literal["timeout", "error"]
"""What a function returned, or how it failed."""

HEADER = struct.Struct(">I")
READY = -1
"""The id of the line that says that the worker has started."""
_IDLE = -1
_CURRENT = struct.Struct(">qd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one item may use."""

    cpu_seconds: float
    wall_seconds: float
    memory_mb: int


def serve(functions: Mapping[str, Callable[..., bool]]) -> None:
    """Be a worker: answer frames until there are no more. A TimeoutError is a time-out, other exceptions are errors."""
    cpu_seconds, wall_seconds, memory_mb = map(float, sys.argv[1:])
    limits = Limits(cpu_seconds=cpu_seconds, wall_seconds=wall_seconds, memory_mb=int(memory_mb))
    replies = os.dup(1)
    current = mmap.mmap(-1, _CURRENT.size)  # shared with the child: what it is at, and since when
    _reply(replies, READY, True, 0.0)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    while True:
        current[:] = _CURRENT.pack(_IDLE, 0.0)
        child = os.fork()
        if child == 0:
            try:
                with contextlib.suppress(BrokenPipeError):
                    _work(functions, limits, replies, current)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return
        identifier, began = _CURRENT.unpack(current[:])
        timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGPROF)
        if identifier != _IDLE:
            _reply(replies, identifier, "timeout" if timed_out else "error", time.monotonic() - began, died=True)


def _work(functions: Mapping[str, Callable[..., bool]], limits: Limits, replies: int, current: mmap.mmap) -> None:
    timers = (
        (signal.ITIMER_REAL, signal.SIGALRM, limits.wall_seconds),
        (signal.ITIMER_PROF, signal.SIGPROF, limits.cpu_seconds),
    )
    for _, number, _ in timers:
        signal.signal(number, signal.SIG_DFL)  # no handler: the kernel ends the process
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number for _, number, _ in timers])
    with contextlib.suppress(OSError, ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_mb << 20, limits.memory_mb << 20))
    while body := _read_frame():
        for identifier, function, arguments in json.loads(body):
            began = time.monotonic()
            current[:] = _CURRENT.pack(identifier, began)
            for timer, _, seconds in timers:
                signal.setitimer(timer, seconds)
            value = _call(functions[function], arguments)
            for timer, _, _ in timers:
                signal.setitimer(timer, 0.0)
            current[:] = _CURRENT.pack(_IDLE, 0.0)
            _reply(replies, identifier, value, time.monotonic() - began)


def _call(function: Callable[..., bool], arguments: list[str]) -> Value:
    try:
        return function(*arguments)
    except TimeoutError:
        return "timeout"
    except BaseException:  # whatever it is, it is this item's failure
        return "error"


def _read_frame() -> bytes:
    # exactly the frame: what comes after it is for the next child, if this one dies
    header = _read(HEADER.size)
    return _read(*HEADER.unpack(header)) if header else b""


def _read(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(0, size)
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _reply(replies: int, identifier: int, value: Value, seconds: float, died: bool = False) -> None:
    os.write(replies, json.dumps([identifier, value, seconds, died]).encode() + b"\n")
