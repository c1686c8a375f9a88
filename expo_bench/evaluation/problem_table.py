"""A run folder streamed into arrays, problem by problem: what the metrics are computed from."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.errors import UserError
from expo_bench.rows import STATUSES, Grade, Problem, Sample
from expo_bench.stats import Bools, Floats, Ints
from expo_bench.storage.run_folder import RunFolder
from expo_bench.thoughts.format import BEGIN_THOUGHT, END_THOUGHT, reflections, split

Records = NDArray[np.void]

_SAMPLE = np.dtype(
    [
        *[("problem", "i4"), ("sample", "i4"), ("cut", "?"), ("counted", "?"), ("tokens", "i4"), ("logprob", "f8")],
        *[("thinks", "?"), ("whole", "?"), ("unended", "?"), ("thought", "f8"), ("turns", "i4")],
    ]
)
_GRADE = np.dtype([("problem", "i4"), ("sample", "i4"), ("status", "i1"), ("correct", "?"), ("answer", "i4")])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemTable:
    """What the metrics need of a run, problem by problem: P problems, at most N samples of each."""

    subsets: dict[str, NDArray[np.intp]]
    """Name of each subset and the problems in it; see `subset_names`."""
    status: Ints
    """Samples by status, in the order of STATUSES, shape (P, 7)."""
    classes: Ints
    """Answer class of each sample, -1 where it has none and beyond the problem's last sample, shape (P, N)."""
    correct: Bools
    """Whether the sample is graded and right, shape (P, N)."""
    cut: Floats
    """Samples that ended at the length limit, shape (P,)."""
    counted: Floats
    """Samples that ended without an engine error and whose tokens are known, shape (P,)."""
    tokens: Floats
    """Tokens of those, shape (P,)."""
    scored_tokens: Floats
    """Tokens of the samples whose log-probability is known, shape (P,)."""
    logprob: Floats
    """Sum of their log-probabilities, in nats, shape (P,)."""
    thoughts: "ThoughtTable | None" = None
    """None where no sample has a thought."""

    @property
    def n(self) -> Ints:
        """Samples of each problem, shape (P,)."""
        return np.asarray(self.status.sum(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoughtTable:
    """The samples that think, which are those with the opening tag of a thought; right and wrong ones apart.

    All of shape (2, P): first what is graded and right, then the rest.
    """

    n: Floats
    """Samples with a thought."""
    whole: Floats
    """Those whose tags are all in order."""
    unended: Floats
    """Those that were cut off within the thought."""
    tokens: Floats
    """Tokens of the thoughts: the sample's, by the thought's share of its characters."""
    turns: Floats
    """Reflection markers in the thoughts; see `thoughts.format.reflections`."""


def collect(run: RunFolder, grader: str, *, partial: bool = False) -> ProblemTable:
    """Read problems, samples and one grader's verdicts, a row at a time, into arrays.

    Raises:
        UserError: as `compute`.
    """
    problems = list(run.problems())
    samples = _read(run.samples(), problems, _SAMPLE, _sample_record)
    n = np.bincount(samples["problem"], minlength=len(problems))
    if not n.any():
        raise UserError(f"{run.path} has no samples")
    if not n.all() and not partial:
        raise UserError(f"{(n == 0).sum()} of {len(n)} problems in {run.path} have no samples: resume the run")
    grades = _read(run.grades(grader), problems, _GRADE, _grade_record)
    samples, grades = _in_order(samples, "sample", run), _in_order(grades, "grade", run)
    _check_pairs(samples, grades, grader, run)
    rows = np.flatnonzero(n)
    position = np.cumsum(n > 0) - 1
    for records in (samples, grades):
        records["problem"] = position[records["problem"]]
    return _table([problems[row] for row in rows], n[rows], samples, grades)


def _read(
    rows: Iterable[Any], problems: list[Problem], kind: np.dtype[np.void], record: Callable[[Any], tuple[Any, ...]]
) -> Records:
    position = {problem.problem_id: index for index, problem in enumerate(problems)}

    def records() -> Iterator[tuple[Any, ...]]:
        for row in rows:
            if row.problem_id not in position:
                raise UserError(f"problem {row.problem_id} has a {type(row).__name__} row but is not in problems.jsonl")
            yield (position[row.problem_id], row.sample_index, *record(row))

    return np.fromiter(records(), dtype=kind)


def _sample_record(sample: Sample) -> tuple[Any, ...]:
    logprob = math.nan if sample.sum_logprob is None else sample.sum_logprob
    counted = sample.finish_reason != "error" and sample.n_tokens is not None
    cut = sample.finish_reason == "length"
    return cut, counted, sample.n_tokens or 0, logprob, *_thought(sample.text, cut, sample.n_tokens or 0)


def _thought(text: str, cut: bool, n_tokens: int) -> tuple[bool, bool, bool, float, int]:
    """Return whether the sample thinks, in whole tags, was cut off in the thought; its thought's tokens and turns."""
    if BEGIN_THOUGHT not in text:
        return False, False, False, 0.0, 0
    thought, ended, _ = text.partition(BEGIN_THOUGHT)[2].partition(END_THOUGHT)
    return True, split(text) is not None, cut and not ended, n_tokens * len(thought) / len(text), reflections(thought)


def _grade_record(grade: Grade) -> tuple[Any, ...]:
    graded = grade.status == "graded"
    answer = grade.answer_class if graded and grade.answer_class is not None else -1
    return STATUSES.index(grade.status), graded and grade.correct is True, answer


def _key(records: Records) -> Ints:
    return np.asarray(records["problem"].astype(np.int64) << 32 | records["sample"])


def _in_order(records: Records, what: str, run: RunFolder) -> Records:
    records = records[np.argsort(_key(records), kind="stable")]
    if repeated := int((np.diff(_key(records)) == 0).sum()):
        raise UserError(f"{repeated} samples in {run.path} have more than one {what} row")
    return records


def _check_pairs(samples: Records, grades: Records, grader: str, run: RunFolder) -> None:
    have, graded = _key(samples), _key(grades)
    if missing := len(np.setdiff1d(have, graded, assume_unique=True)):
        known = ", ".join(run.graders()) or "none"
        lacking = f"{missing} of {len(have)} samples in {run.path} have no grade from {grader}"
        raise UserError(f"{lacking} (graders there: {known}): resume the run or grade it")
    if orphans := len(np.setdiff1d(graded, have, assume_unique=True)):
        raise UserError(f"{orphans} grades of {grader} in {run.path} have no sample")


def _table(problems: list[Problem], n: Ints, samples: Records, grades: Records) -> ProblemTable:
    row, size, kinds = samples["problem"], len(n), len(STATUSES)
    slot = np.arange(len(samples)) - np.repeat(np.cumsum(n) - n, n)
    classes = np.full((size, n.max()), -1, dtype=np.int32)
    correct = np.zeros(classes.shape, dtype=np.bool_)
    classes[row, slot] = grades["answer"]
    correct[row, slot] = grades["correct"]
    status = np.bincount(row * kinds + grades["status"], minlength=size * kinds)
    scored = ~np.isnan(samples["logprob"])

    def total(of: Any) -> Floats:
        return np.asarray(np.bincount(row, weights=of, minlength=size), dtype=np.float64)

    return ProblemTable(
        subsets=subset_names(problems),
        status=status.reshape(size, kinds),
        classes=classes,
        correct=correct,
        cut=total(samples["cut"]),
        counted=total(samples["counted"]),
        tokens=total(samples["tokens"] * samples["counted"]),
        scored_tokens=total(samples["tokens"] * scored),
        logprob=total(np.where(scored, samples["logprob"], 0.0)),
        thoughts=_thoughts(samples, grades["correct"], size) if samples["thinks"].any() else None,
    )


def _thoughts(samples: Records, correct: Bools, size: int) -> ThoughtTable:
    place = np.where(correct, 0, size) + samples["problem"]

    def total(of: Any) -> Floats:
        return np.asarray(np.bincount(place, weights=of, minlength=2 * size), dtype=np.float64).reshape(2, size)

    return ThoughtTable(
        n=total(samples["thinks"]),
        whole=total(samples["whole"]),
        unended=total(samples["unended"]),
        tokens=total(samples["thought"]),
        turns=total(samples["turns"]),
    )


def subset_names(problems: Sequence[Problem]) -> dict[str, NDArray[np.intp]]:
    """Return the subsets, in the order of a report, and the positions of their problems.

    "all", "benchmark=B", and "level=L", "subject=S", "domain=D"; these three as "benchmark=B,level=L" where there are
    several benchmarks, whose levels do not compare. A problem counts in each of its domains.
    """
    several = len({problem.benchmark for problem in problems}) > 1
    found: dict[tuple[int, str, int, str], list[int]] = {}
    for position, problem in enumerate(problems):
        within = f"benchmark={problem.benchmark}," if several else ""
        keys = [(0, "", 0, "all"), (1, "", 0, f"benchmark={problem.benchmark}")]
        if problem.level is not None:
            keys.append((2, within, problem.level, f"{within}level={problem.level}"))
        if problem.subject is not None:
            keys.append((3, within, 0, f"{within}subject={problem.subject}"))
        keys += [(4, within, 0, f"{within}domain={domain}") for domain in sorted(set(problem.domain))]
        for key in keys:
            found.setdefault(key, []).append(position)
    return {key[-1]: np.array(found[key], dtype=np.intp) for key in sorted(found)}
