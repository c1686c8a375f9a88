"""A process that has imported what training needs, and forks one for each run that it is asked for.

The imports of a small run take longer than its steps. A fork has computed nothing before its run begins, so the run
is that of a process of its own: it shares no state with the runs before it, and fails or is killed alone.
multiprocessing's own fork server ends its children without their exit handlers, by which trackers write what they still
hold.
"""

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from expo_bench.trainers.libraries import preload


class ForkServer:
    """Lets one `expo-bench` command run after the other."""

    def __init__(self, threads: int, *, with_vllm: bool) -> None:
        """Start the process, which imports on its own.

        Args:
            threads: those of a run; libraries ask the environment for them when they are imported.
            with_vllm: whether a run may draw with vLLM.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "expo_bench.studies.fork_server", *["vllm"] * with_vllm],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        assert self._process.stdin and self._process.stdout
        self._requests, self.replies = self._process.stdin, self._process.stdout

    def begin(self, words: Sequence[str], log: Path) -> None:
        """Let `expo-bench` run with these words, its output added to the file `log`; one run at a time."""
        with contextlib.suppress(BrokenPipeError):  # `ended` tells of a server that is gone
            self._requests.write(json.dumps([*words, str(log)]) + "\n")
            self._requests.flush()

    def ended(self) -> int:
        """Return the exit code of the run, negative for a signal; waits for it, as a look at `replies` need not."""
        line = self.replies.readline()
        return int(line) if line else self._process.wait() or 1

    @property
    def alive(self) -> bool:
        """Whether it may be asked for another run."""
        return self._process.poll() is None

    def close(self) -> None:
        """Stop the run, if there is one, as SIGTERM does, and wait for its end."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._process.terminate()
        self._process.wait()
        self.replies.close()


def _serve() -> None:
    # ctrl-C is for the run, and for the study that then closes this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload(with_vllm="vllm" in sys.argv)
    for line in sys.stdin:
        # what arrives between the fork and the handlers is delivered after them
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        run = os.fork()
        if not run:
            *words, log = json.loads(line)
            _become(words, log)
            return
        signal.signal(signal.SIGTERM, lambda *_, run=run: _stop(run))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _, status = os.waitpid(run, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with contextlib.suppress(BrokenPipeError):  # the study was killed
            os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _stop(run: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(run, signal.SIGTERM)


def _become(words: Sequence[str], log: str) -> None:
    """Run `expo-bench` in this process, which a server has forked."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    with Path(log).open("ab") as output, Path(os.devnull).open("rb") as nothing:
        for at, there in enumerate((nothing, output, output)):
            os.dup2(there.fileno(), at)
    sys.argv = ["expo-bench", *words]
    runpy.run_module("expo_bench", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
