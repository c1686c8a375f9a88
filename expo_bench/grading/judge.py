r"""Answers: a `Judge` finds the answer in a completion and tells whether it is the gold answer.

    with Judge() as judge:
        verdicts = list(judge.judge_many([Attempt(gold="\\frac12", text="So it is \\boxed{0.5}.")]))

docs/grading.md defines statuses, rules and limits.
"""

import atexit
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from expo_bench.grading.choices import choice, compare_choice, gold_choice
from expo_bench.grading.copying import is_copied
from expo_bench.grading.extraction import MAX_LENGTH, extract
from expo_bench.grading.rivals import MOST_TEXT
from expo_bench.grading.serving import Limits
from expo_bench.grading.tolerances import without_tolerance
from expo_bench.grading.workers import Job, Pool
from expo_bench.rows import Status

__all__ = ["GRADER", "Attempt", "Judge", "Verdict", "extract", "judge_many"]

GRADER = "expo-bench-2"
"""Name of the verdicts: goes into every Grade and is the name of their file."""
_LOOK_AHEAD = 512
_CACHE_SIZE = 100_000
_MOST_WORKERS = 16  # more would wait for the process that reads the texts
_POLL_QUEUE = 32
_POLL_SECONDS = 0.05

_EXACT = re.compile(
    r"(?P<sign>-?)(?:(?P<whole>[0-9]{1,100})|\\[dt]?frac\{(?P<top>-?[0-9]{1,100})\}\{(?P<bottom>[0-9]{1,100})\})"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A completion to be judged by a gold answer."""

    gold: str
    text: str
    problem: str = ""
    """The problem's text: an answer that is copied from it is none."""
    truncated: bool = False
    """The text was cut off by the token limit."""
    error: bool = False
    """The text could not be drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of an attempt."""

    status: Status
    correct: bool | None
    """True or False where status is "graded", else None."""
    extracted: str | None
    """The answer that was found, its first 1,000 characters."""
    seconds: float
    """Spent on this verdict; 0 where an earlier one served."""


@dataclass(slots=True, eq=False)
class _Slot(Generic[T]):
    """The place of a result that may not be there yet."""

    value: T | None = None


class Judge:
    """Judges in worker processes, which start when the first answer needs them. For one thread at a time."""

    def __init__(
        self,
        *,
        workers: int | None = None,
        timeout_seconds: float = 5.0,
        cpu_seconds: float = 1.0,
        memory_mb: int = 1024,
    ) -> None:
        """Set the limits.

        Args:
            workers: processes at most; None for one a processor that this process may use.
            timeout_seconds: wall clock for one answer, generous so that a busy machine changes no verdict.
            cpu_seconds: processor time for one answer; this is what ends a computation without end.
            memory_mb: address space of a worker.
        """
        limits = Limits(cpu_seconds=cpu_seconds, wall_seconds=timeout_seconds, memory_mb=memory_mb)
        self._pool = Pool("expo_bench.grading.equivalence", workers=workers or _processors(), limits=limits)
        self._jobs: dict[tuple[str, ...], Job] = {}

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def judge_many(self, attempts: Iterable[Attempt]) -> Iterator[Verdict]:
        """Yield a verdict for each attempt, in order; at most 512 attempts are read ahead, and no text is kept.

        Raises:
            RuntimeError: the worker processes do not start.
        """
        return self._stream(map(self._judge, attempts))

    def judge_by(self, rival: str, attempts: Iterable[Attempt]) -> Iterator[Verdict]:
        """Yield the verdicts of another grader, one of `rivals.RIVALS`; it finds the answers by its own rules.

        Raises:
            RuntimeError: the worker processes do not start.
        """
        return self._stream(self._judge_by(rival, attempt) for attempt in attempts)

    def readable(self, golds: Iterable[str]) -> Iterator[bool]:
        """Yield whether answers can be judged by each gold answer.

        Raises:
            RuntimeError: the worker processes do not start.
        """
        return self._stream(map(self._check, golds))

    def equivalent(self, pairs: Iterable[tuple[str, str]]) -> Iterator[bool]:
        """Yield whether the answers of each pair are the same; False where that could not be found out.

        Raises:
            RuntimeError: the worker processes do not start.
        """
        return self._stream(map(self._compare, pairs))

    def _judge(self, attempt: Attempt) -> _Slot[Verdict]:
        slot = _Slot[Verdict]()
        gold = attempt.gold
        extracted = None if attempt.error else extract(attempt.text, truncated=attempt.truncated)

        def settle(status: Status, correct: bool | None = None, seconds: float = 0.0) -> None:
            if (
                correct
                and extracted
                and attempt.problem
                and is_copied(attempt.problem, without_tolerance(gold)[0], extracted)
            ):
                status, correct = "copied", None
            shown = extracted[:MAX_LENGTH] if extracted else None
            slot.value = Verdict(status=status, correct=correct, extracted=shown, seconds=seconds)

        def compare(check: Job) -> None:
            if check.value is not True:
                settle("bad_gold")
            elif gold == extracted:
                settle("graded", True)
            elif extracted:
                job, is_new = self._ask("same", gold, extracted)
                job.then(lambda job: conclude(job, is_new))

        def conclude(job: Job, is_new: bool) -> None:
            seconds = job.seconds if is_new else 0.0
            if isinstance(job.value, bool):
                settle("graded", job.value, seconds)
            else:
                settle(job.value or "error", None, seconds)

        if attempt.error:
            settle("error")
        elif extracted is None:
            settle("truncated" if attempt.truncated else "no_answer")
        elif len(extracted) > MAX_LENGTH:
            settle("timeout")
        elif (equal := _compare_exact(gold, extracted)) is not None or (
            equal := compare_choice(gold, extracted)
        ) is not None:
            settle("graded", equal)
        else:
            self._ask("gold", gold)[0].then(compare)
        return slot

    def _judge_by(self, rival: str, attempt: Attempt) -> _Slot[Verdict]:
        if attempt.error:
            return _Slot(Verdict(status="error", correct=None, extracted=None, seconds=0.0))
        slot = _Slot[Verdict]()

        def settle(job: Job) -> None:
            judged = isinstance(job.value, bool)
            status: Status = "graded" if isinstance(job.value, bool) else job.value or "error"
            correct = bool(job.value) if judged else None
            slot.value = Verdict(status=status, correct=correct, extracted=None, seconds=job.seconds)

        text = attempt.text[-MOST_TEXT:].encode(errors="replace").decode()
        self._ask(rival, without_tolerance(attempt.gold)[0], text)[0].then(settle)
        return slot

    def _check(self, gold: str) -> _Slot[bool]:
        if _exact(gold) is not None or gold_choice(gold) is not None:
            return _Slot(True)
        slot = _Slot[bool]()

        def settle(job: Job) -> None:
            slot.value = job.value is True

        self._ask("gold", gold)[0].then(settle)
        return slot

    def _compare(self, pair: tuple[str, str]) -> _Slot[bool]:
        left, right = pair
        equal = True if left == right else _compare_exact(left, right)
        if equal is None and choice(left) is not None and choice(left) == choice(right):
            equal = True
        slot = _Slot(equal)
        if equal is None:

            def settle(job: Job) -> None:
                slot.value = job.value is True

            self._ask("same", left, right)[0].then(settle)
        return slot

    def _ask(self, function: str, *arguments: str) -> tuple[Job, bool]:
        """Return the job, and whether it is a new one: the same question is asked once."""
        key = (function, *arguments)
        if key in self._jobs:
            return self._jobs[key], False
        if len(self._jobs) >= _CACHE_SIZE:
            del self._jobs[next(iter(self._jobs))]
        self._jobs[key] = job = self._pool.submit(function, *arguments)
        return job, True

    def _stream(self, slots: Iterator[_Slot[T]]) -> Iterator[T]:
        window: deque[_Slot[T]] = deque()
        polled = 0.0
        for slot in slots:
            window.append(slot)
            now = time.monotonic()
            if self._pool.queued >= _POLL_QUEUE or now - polled > _POLL_SECONDS:
                self._pool.poll()
                polled = now
            yield from self._finished(window, _LOOK_AHEAD)
        yield from self._finished(window, 1)

    def _finished(self, window: deque[_Slot[T]], full: int) -> Iterator[T]:
        """Yield what is done at the front, and wait as long as the window is full."""
        while window:
            value = window[0].value
            if value is not None:
                window.popleft()
                yield value
            elif len(window) >= full:
                self._pool.poll(1.0)
            else:
                return


def _compare_exact(gold: str, answer: str) -> bool | None:
    """Return whether two whole numbers or fractions are equal, None if one is neither: most answers need no more."""
    left = _exact(gold)
    right = _exact(answer) if left is not None else None
    return None if left is None or right is None else left == right


def _exact(text: str) -> Fraction | None:
    match = _EXACT.fullmatch(text.strip())
    if match is None or not int(match["bottom"] or 1):
        return None
    value = Fraction(int(match["whole"] or match["top"]), int(match["bottom"] or 1))
    return -value if match["sign"] else value


def _processors() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _MOST_WORKERS)


_shared_lock = threading.Lock()
_shared: list[Judge] = []


def judge_many(attempts: Iterable[Attempt]) -> list[Verdict]:
    """Return a verdict for each attempt, by a judge that the whole process shares: for rewards. Any thread may call it.

    Raises:
        RuntimeError: the worker processes do not start.
    """
    with _shared_lock:
        if not _shared:
            _shared.append(Judge())
        return list(_shared[0].judge_many(attempts))


def _close_shared() -> None:
    for judge in _shared:
        judge.close()


def _forget_shared() -> None:
    """Let a fork of this process begin without the judge, whose pipes it would share, and with an open lock."""
    global _shared_lock
    _shared_lock = threading.Lock()
    _shared.clear()


atexit.register(_close_shared)
os.register_at_fork(after_in_child=_forget_shared)
