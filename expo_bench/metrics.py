"""The stage from grades to metrics: `collect` streams a run folder into arrays, `summarise` makes rows of them."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench import stats
from expo_bench.errors import UserError
from expo_bench.rows import STATUSES, Grade, Metric, Problem, Sample
from expo_bench.stats import Bools, Floats, Ints
from expo_bench.store import RunFolder

Records = NDArray[np.void]

G_PASS_K = 16
G_PASS_TAUS = (0.5, 0.75, 1.0)
COVER_TAUS = (0.25, 0.5, 0.75, 1.0)

_SAMPLE = np.dtype(
    [("problem", "i4"), ("sample", "i4"), ("cut", "?"), ("counted", "?"), ("tokens", "i4"), ("logprob", "f8")]
)
_GRADE = np.dtype([("problem", "i4"), ("sample", "i4"), ("status", "i1"), ("correct", "?"), ("answer", "i4")])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemTable:
    """What the metrics need of a run, problem by problem: P problems, at most N samples of each."""

    subsets: dict[str, NDArray[np.intp]]
    """Name of each subset and the problems in it; see `subset_names`."""
    status: Ints
    """Samples by status, in the order of STATUSES, shape (P, 6)."""
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

    @property
    def n(self) -> Ints:
        """Samples of each problem, shape (P,)."""
        return np.asarray(self.status.sum(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    name: str
    values: Floats
    weights: Ints | Floats
    bounded: bool = True
    graded_only: bool = False


def compute(
    run: RunFolder,
    *,
    grader: str,
    ks: Sequence[int] | None = None,
    draws: int = 10_000,
    seed: int = 0,
    partial: bool = False,
) -> list[Metric]:
    """Compute the metrics of a run under one grader, as docs/metrics.md defines them; nothing is written.

    By default `ks`, for pass@k and maj@k, are the powers of two up to n, and n. `partial` leaves out the problems that
    have no samples yet, instead of refusing. `seed` serves the bootstrap and the random subsets of maj@k.

    Raises:
        UserError: samples without a grade or grades without a sample, problems without samples, or k above n.
    """
    return summarise(collect(run, grader, partial=partial), grader=grader, ks=ks, draws=draws, seed=seed)


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
    return sample.finish_reason == "length", counted, sample.n_tokens or 0, logprob


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


def summarise(
    table: ProblemTable, *, grader: str, ks: Sequence[int] | None = None, draws: int = 10_000, seed: int = 0
) -> list[Metric]:
    """Compute every metric of every subset, from arrays.

    Raises:
        UserError: some k is below 1 or above the smallest number of samples of a problem.
    """
    columns = _columns(table, _choose_ks(int(table.n.min()), ks), seed)
    values = np.stack([column.values for column in columns], axis=1)
    weights = np.stack([column.weights for column in columns], axis=1).astype(np.float64)
    bounded = np.array([column.bounded for column in columns])
    counts = stats.resample_counts(len(values), draws, seed)
    metrics: list[Metric] = []
    for subset, rows in table.subsets.items():
        estimates = (
            *stats.clustered_mean(values[rows], weights[rows]),
            *stats.intervals(values[rows], weights[rows], counts.take(rows, axis=1), bounded),
        )
        metrics += [
            _metric(column, subset, grader, table.status[rows[column.weights[rows] > 0]], numbers)
            for column, *numbers in zip(columns, *estimates, strict=True)
        ]
    return metrics


def _metric(column: _Column, subset: str, grader: str, status: Ints, numbers: list[float]) -> Metric:
    value, stderr, low, high = (float(number) if math.isfinite(number) else None for number in numbers)
    totals = status.sum(axis=0)
    if column.graded_only:
        totals[np.array(STATUSES) != "graded"] = 0
    return Metric(
        name=column.name,
        subset=subset,
        grader=grader,
        value=value,
        stderr=stderr,
        ci_low=low,
        ci_high=high,
        n_problems=len(status),
        n_samples=int(totals.sum()),
        counts={name: int(total) for name, total in zip(STATUSES, totals, strict=True)},
    )


def _choose_ks(n: int, ks: Sequence[int] | None) -> list[int]:
    if ks is None:
        return sorted({2**power for power in range(n.bit_length())} | {n})
    for k in ks:
        if not 1 <= k <= n:
            raise UserError(f"k={k}: k is between 1 and {n}, the smallest number of samples of a problem")
    return sorted(set(ks))


def _columns(table: ProblemTable, ks: list[int], seed: int) -> list[_Column]:
    n, c, graded = table.n, table.correct.sum(axis=1), table.status[:, STATUSES.index("graded")]
    average = f"avg@{n[0]}" if (n == n[0]).all() else "avg"
    curve = stats.pass_at_k_curve(n, c, ks)
    problem_rates = [(f"pass@{k}", curve[:, column]) for column, k in enumerate(ks)]
    problem_rates += [(f"maj@{k}", _majority(table, k, seed)) for k in ks]
    problem_rates += _stability(n, c)
    one = np.ones(len(n))
    solved_if_graded = _ratio(c, graded)
    shares = [(name, table.status[:, index]) for index, name in enumerate(STATUSES)] + [("length_limit", table.cut)]
    means = [("tokens", table.tokens, table.counted), ("logprob_per_token", table.logprob, table.scored_tokens)]
    return [
        _Column(name=average, values=c / n, weights=n),
        *(_Column(name=name, values=rates, weights=one) for name, rates in problem_rates),
        _Column(name=f"{average}|graded", values=solved_if_graded, weights=graded, graded_only=True),
        _Column(name="pass@1|graded", values=solved_if_graded, weights=np.minimum(graded, 1), graded_only=True),
        *(_Column(name=name, values=count / n, weights=n) for name, count in shares),
        *(_Column(name=name, values=_ratio(of, count), weights=count, bounded=False) for name, of, count in means),
    ]


def _ratio(above: Ints | Floats, below: Ints | Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.zeros(len(below)), where=below > 0))


def _majority(table: ProblemTable, k: int, seed: int) -> Floats:
    rates = np.empty(len(table.n))
    rng = np.random.default_rng([seed, k])
    for size in np.unique(table.n):
        rows = np.flatnonzero(table.n == size)
        rates[rows] = stats.maj_at_k(table.classes[rows, :size], table.correct[rows, :size], k, rng)
    return rates


def _stability(n: Ints, c: Ints) -> list[tuple[str, Floats]]:
    k = min(int(n.min()), G_PASS_K)
    rates = [(f"Cover@{tau}", stats.cover_at_tau(n, c, tau)) for tau in COVER_TAUS]
    if k > 1:
        rates += [(f"G-Pass@{k}_{tau}", stats.g_pass_at_k(n, c, k, tau)) for tau in G_PASS_TAUS]
    if k % 2 == 0:
        rates.append((f"mG-Pass@{k}", stats.mg_pass_at_k(n, c, k)))
    return rates
