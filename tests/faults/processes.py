"""Commands in processes that meet a fault at a chosen moment; each is forked from a server that has imported torch."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "torch",
        "transformers",
        "trl",
        "expo_bench.engines.transformers.engine",
        "expo_bench.reports.reporting",
        "expo_bench.trainers.rounds.learning",
        "expo_bench.trainers.online.run",
    ]
)

KILLED = -signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int | None
    """Exit code; a signal as its negative number, None where it did not end in time."""
    out: str
    errors: str

    @property
    def message(self) -> str:
        """The last line on standard error."""
        return (self.errors.strip().splitlines() or [""])[-1]


def run(folder: Path, words: list[str], fault: Callable[[], None] | None = None, seconds: float = 120) -> Ended:
    """Run an expo-bench command in the folder, the fault armed before it begins."""
    texts = folder / f".{os.getpid()}.out", folder / f".{os.getpid()}.err"
    process = _context.Process(target=_command, args=(folder, words, texts, fault))
    process.start()
    process.join(seconds)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    out, errors = (text.read_text() if text.exists() else "" for text in texts)
    for text in texts:
        text.unlink(missing_ok=True)
    return Ended(code=code, out=out, errors=errors)


def run_as_disk_grows(folder: Path, words: list[str], disk: Path, more: Callable[[int, str], int]) -> list[str]:
    """Run a command again and again until it ends well; return the line that each run ended with that found no room.

    Args:
        folder: where the command runs.
        words: of the command.
        disk: a tmpfs.
        more: the pages that the disk gets more, from those that it has and the line.
    """
    messages = []
    while (ended := run(folder, words)).code != 0:
        assert ended.code == 2, ended.errors
        assert "Traceback" not in ended.errors, ended.errors
        assert "cannot write" in ended.message, ended.message
        messages.append(ended.message)
        pages = os.statvfs(disk).f_blocks
        size = (pages + more(pages, ended.message)) * os.sysconf("SC_PAGE_SIZE")
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
    return messages


def _command(folder: Path, words: list[str], texts: tuple[Path, Path], fault: Callable[[], None] | None) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.chdir(folder)
    for number, text in enumerate(texts, start=1):
        os.dup2(os.open(text, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    import torch

    from expo_bench.commands.cli import main

    torch.set_num_threads(1)
    sys.argv = ["expo-bench", *words]
    if fault is not None:
        fault()
    main()


@dataclass(frozen=True)
class KillAtWrite:
    """kill -9 in the midst of a write: an appended line is torn, a file is not yet put in the old one's place.

    The writes of other libraries count as well, each time that they open, make, rename or delete a file in `folder`.
    """

    number: int
    """Writes that get through."""
    folder: Path | None = None

    def __call__(self) -> None:
        from expo_bench.storage.row_files import Appender

        rows = sys.modules[Appender.__module__]
        left = self.number
        write, fsync, replace = rows._write, os.fsync, Path.replace

        def last() -> bool:
            nonlocal left
            left -= 1
            return left < 0

        def torn(file: Any, content: bytes) -> None:
            if last():
                write(file, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(file, content)

        def unsynced(handle: int) -> None:
            if last():
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(handle)

        def replaced(path: Path, target: Path) -> Path:
            if last():
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)

        rows._write, os.fsync, Path.replace = torn, unsynced, replaced  # type: ignore[assignment]
        if self.folder is None:
            return
        inside = str(self.folder)

        def watched(event: str, arguments: tuple[Any, ...]) -> None:
            changes = event in _CHANGES or (event == "open" and arguments[2] & _WRITING)
            if changes and os.path.abspath(os.fsdecode(arguments[0])).startswith(inside) and last():
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watched)


_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class MemoryLimit:
    """The process may map no more than this much more memory."""

    megabytes: int

    def __call__(self) -> None:
        import resource

        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        limit = mapped + (self.megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def clock_backwards() -> None:
    """Every look of ours at the wall clock finds it an hour earlier than the look before."""
    import datetime
    import time

    from expo_bench.evaluation import planning
    from expo_bench.reports import run_views

    lost = 0

    class Falling(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            nonlocal lost
            lost += 3600
            return datetime.datetime.now(tz) - datetime.timedelta(seconds=lost)

    # the class itself cannot be replaced: compiled code knows its size
    planning.datetime = run_views.datetime = Falling  # type: ignore[misc, attr-defined]
    time.time = lambda: Falling.now().timestamp()


@contextlib.contextmanager
def tmpfs(path: Path, options: str) -> Any:
    """Mount a small file system; skips the test where that is not permitted."""
    import pytest

    path.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)
