"""Samples with one grader's verdicts as columns to filter and sort by; the texts stay on disk. See `row_index`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.rows import STATUSES, Problem
from expo_bench.storage.row_index import MISSING, Kind, RowIndex
from expo_bench.storage.run_folder import RunFolder

Ints = NDArray[np.int64]
_FINISHES = ("stop", "length", "error")
_KEY = rb'\{"problem_id":"([^"\\]+)","sample_index":(\d{1,9}),'


class SampleIndex:
    """The samples of a run and their verdicts, as far as both files were read."""

    def __init__(self, run: RunFolder, grader: str) -> None:
        self.run, self.grader = run, grader
        self.problems: list[Problem] = list(run.problems())
        self.places = {problem.problem_id: place for place, problem in enumerate(self.problems)}
        self.samples = RowIndex(run.samples_path, _samples(self._place))
        self.grades = RowIndex(run.grades_path(grader), _grades(self._place))
        self._joined: tuple[tuple[int, int], Table] | None = None

    def _place(self, problem_id: str) -> int:
        # an unknown one gets a place behind those of problems.jsonl
        return self.places.setdefault(problem_id, len(self.places))

    def refresh(self, seconds: float) -> bool:
        """Read on for about this time; tell whether all was read."""
        whole = self.grades.refresh(seconds / 3)
        return self.samples.refresh(seconds * 2 / 3) and whole

    @property
    def share(self) -> float:
        """Of the samples' file, as far as it was read."""
        return min(self.samples.share, self.grades.share)

    def table(self) -> "Table":
        """Return the columns, a row a sample in the order of the file."""
        size = (len(self.samples), len(self.grades))
        if self._joined is None or self._joined[0] != size:
            self._joined = (size, _join(self.samples.columns, self.grades.columns))
        return self._joined[1]

    def problem_counts(self) -> tuple[Ints, Ints]:
        """Return samples and right ones of each problem, shape (P,), as far as they are graded."""
        columns, size = self.grades.columns, len(self.places)
        place = columns["problem"].astype(np.intp)
        # a sample whose row stands twice counts once
        _, first = np.unique(place << 32 | columns["sample"].astype(np.int64), return_index=True)
        n = np.bincount(place[first], minlength=size)
        c = np.bincount(place[first], weights=columns["correct"][first] == 1, minlength=size)
        return n.astype(np.int64), c.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A row a sample; all arrays of shape (N,)."""

    problem: Ints
    """Place of the problem; at or beyond the number of problems where it is not among them."""
    sample: Ints
    tokens: Ints
    """-1 where nobody knows."""
    finish: Ints
    status: Ints
    """Index into STATUSES; -1 for a sample that was not graded yet."""
    correct: NDArray[np.bool_]
    agreement: NDArray[np.float32]
    """Share of the problem's samples that give the same answer; NaN without one."""
    grade: Ints
    """Row of the verdict; -1 without one."""


def _join(samples: dict[str, NDArray[Any]], grades: dict[str, NDArray[Any]]) -> Table:
    key, graded = (one["problem"].astype(np.int64) << 32 | one["sample"].astype(np.int64) for one in (samples, grades))
    order = np.argsort(graded, kind="stable")
    at = np.searchsorted(graded, key, sorter=order)
    row = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(len(key), dtype=np.int64)
    known = graded[row] == key if len(order) else np.zeros(len(key), dtype=bool)
    row = np.where(known, row, MISSING)

    def taken(name: str) -> Ints:
        return np.where(known, grades[name][row], MISSING).astype(np.int32) if len(order) else row.astype(np.int32)

    return Table(
        problem=samples["problem"].astype(np.int32),
        sample=samples["sample"].astype(np.int32),
        tokens=samples["tokens"].astype(np.int32),
        finish=samples["finish"].astype(np.int8),
        status=taken("status").astype(np.int8),
        correct=taken("correct") == 1,
        agreement=_agreement(samples["problem"].astype(np.int64), taken("answer")),
        grade=row.astype(np.int32),
    )


def _agreement(problem: Ints, answer: Ints) -> NDArray[np.float32]:
    if not len(problem):
        return np.zeros(0, dtype=np.float32)
    _, place, votes = np.unique(problem << 32 | (answer.astype(np.int64) + 1), return_inverse=True, return_counts=True)
    n = np.bincount(problem)[problem]
    return np.where(answer < 0, np.nan, votes[place] / n).astype(np.float32)


def _samples(place: Any) -> Kind:
    def of_match(head: Sequence[bytes], tail: Sequence[bytes]) -> tuple[float, ...]:
        tokens = MISSING if tail[0] == b"null" else int(tail[0])
        return place(head[0].decode()), int(head[1]), tokens, _FINISHES.index(tail[1].decode())

    def of_object(row: dict[str, Any]) -> tuple[float, ...]:
        tokens = MISSING if row["n_tokens"] is None else row["n_tokens"]
        return place(row["problem_id"]), row["sample_index"], tokens, _FINISHES.index(row["finish_reason"])

    return Kind(
        dtype=np.int32,
        head=re.compile(_KEY),
        tail_mark=b'"n_tokens":',
        tail=re.compile(rb'"n_tokens":(\d{1,12}|null),"finish_reason":"(stop|length|error)"'),
        of_match=of_match,
        of_object=of_object,
        names=("problem", "sample", "tokens", "finish"),
        text="text",
        follows="token_ids",
    )


def _grades(place: Any) -> Kind:
    def of_match(head: Sequence[bytes], tail: Sequence[bytes]) -> tuple[float, ...]:
        answer = MISSING if tail[0] == b"null" else int(tail[0])
        return place(head[0].decode()), int(head[1]), STATUSES.index(head[2].decode()), head[3] == b"true", answer

    def of_object(row: dict[str, Any]) -> tuple[float, ...]:
        answer = MISSING if row["answer_class"] is None else row["answer_class"]
        status = STATUSES.index(row["status"])
        return place(row["problem_id"]), row["sample_index"], status, row["correct"] is True, answer

    return Kind(
        head=re.compile(_KEY + rb'"grader":"[^"\\]*","status":"(\w+)","correct":(true|false|null),'),
        dtype=np.int32,
        tail_mark=b'"answer_class":',
        tail=re.compile(rb'"answer_class":(\d{1,9}|null),'),
        of_match=of_match,
        of_object=of_object,
        names=("problem", "sample", "status", "correct", "answer"),
        text="extracted",
        follows="answer_class",
    )
