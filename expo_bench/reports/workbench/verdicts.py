"""Verdicts on samples that the run has not graded yet, so that a running accuracy can be told; kept in memory only."""

import threading
import time
from pathlib import Path

import numpy as np

from expo_bench.grading.judge import Attempt, Judge
from expo_bench.reports.workbench.entries import Entry
from expo_bench.storage.sample_index import Ints, SampleIndex

_SECONDS = 0.4
_AT_ONCE = 64


class Provisional:
    """Judges new samples a little at a time, whenever somebody looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._judge: Judge | None = None
        self._done: dict[Path, tuple[int, Ints, Ints]] = {}

    def counts(self, entry: Entry, index: SampleIndex) -> tuple[Ints, Ints]:
        """Return samples and right ones of each problem, shape (P,), as far as they were judged; a little goes on."""
        with self._lock:
            size = len(index.places)
            row, n, c = self._done.get(entry.path, (0, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)))
            n, c = (np.pad(one, (0, size - len(one))) for one in (n, c))
            stop = time.monotonic() + _SECONDS
            while row < len(index.samples) and time.monotonic() < stop:
                row += self._some(index, row, n, c)
            self._done[entry.path] = (row, n, c)
            return n, c

    def _some(self, index: SampleIndex, first: int, n: Ints, c: Ints) -> int:
        if self._judge is None:
            self._judge = Judge(workers=1)
        last = min(first + _AT_ONCE, len(index.samples))
        rows = index.samples.rows(range(first, last))
        known = [row for row in rows if index.places.get(row["problem_id"], len(index.problems)) < len(index.problems)]
        asked = [index.problems[index.places[row["problem_id"]]] for row in known]
        attempts = (
            Attempt(
                gold=problem.answer,
                problem=problem.question,
                text=row["text"],
                truncated=row["finish_reason"] == "length",
                error=row["finish_reason"] == "error" or row.get("error") is not None,
            )
            for row, problem in zip(known, asked, strict=True)
        )
        for row, verdict in zip(known, self._judge.judge_many(attempts), strict=True):
            place = index.places[row["problem_id"]]
            n[place] += 1
            c[place] += verdict.correct is True
        return last - first

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            if self._judge is not None:
                self._judge.close()
                self._judge = None
