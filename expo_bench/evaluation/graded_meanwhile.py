"""Grading beside drawing, so that the share of right answers is told while a run is drawn."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from expo_bench.errors import UserError
from expo_bench.evaluation.progress import Tally
from expo_bench.grading.judge import Judge
from expo_bench.grading.stage import grade
from expo_bench.storage.run_folder import RunFolder

_SECONDS = 10.0
_REST = 20
"""A pass reads all samples that are there: it may take a twentieth of the time."""


class _Ended(Exception):
    """Nothing more is drawn."""


@contextmanager
def graded_meanwhile(run: RunFolder, judge: Judge, tally: Tally, seconds: float = _SECONDS) -> Iterator[None]:
    """Grade what is there, time and again, until the block ends.

    What cannot be read or written is left to the stage of grading, which comes after and says so.

    Args:
        run: its file of grades is appended to; the caller holds its lock.
        judge: is used by no other thread within the block.
        tally: gets the counts of each pass when it is whole.
        seconds: between two passes, at least.
    """
    ended = threading.Event()

    def passes() -> None:
        wait = seconds
        while not ended.wait(wait):
            begun = time.monotonic()
            try:
                _grade_all(run, judge, tally, ended)
            except (_Ended, UserError, OSError, RuntimeError):
                return
            wait = max(seconds, _REST * (time.monotonic() - begun))

    thread = threading.Thread(target=passes, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _grade_all(run: RunFolder, judge: Judge, tally: Tally, ended: threading.Event) -> None:
    whole = Tally()

    def count(correct: bool | None) -> None:
        if ended.is_set():
            raise _Ended
        whole.count(correct)

    grade(run, judge=judge, on_grade=count)
    tally.right, tally.judged = whole.right, whole.judged
