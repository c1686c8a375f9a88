"""The stage from grades to metrics: a run folder's arrays in, rows out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expo_bench import intervals, stats
from expo_bench.errors import UserError
from expo_bench.evaluation.problem_table import ProblemTable, ThoughtTable, collect
from expo_bench.extrapolation import FARTHEST, beyond
from expo_bench.rows import STATUSES, Metric
from expo_bench.stats import Floats, Ints
from expo_bench.storage.run_folder import RunFolder

G_PASS_K = 16
G_PASS_TAUS = (0.5, 0.75, 1.0)
COVER_TAUS = (0.25, 0.5, 0.75, 1.0)
SPREAD = ("variance_within", "variance_between", "reliability")
FORECAST = "|forecast"
"""Ends the name of pass@k for k above n."""
_NO_ESTIMATE = "no estimate of its sampling noise without bias"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    name: str
    values: Floats
    weights: Ints | Floats
    bounded: bool = True
    graded_only: bool = False
    k: int | None = None
    """Where the value is pass@k of `right` samples, so that its sampling noise is known; for a share of samples 1."""
    right: Ints | Floats | None = None


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
            *intervals.of_columns(values[rows], weights[rows], bounded, counts.take(rows, axis=1), seed),
        )
        metrics += [
            _metric(
                column,
                subset,
                grader,
                table.status[rows[column.weights[rows] > 0]],
                numbers,
                _these(column, rows, table.n),
            )
            for column, *numbers in zip(columns, *estimates, strict=True)
        ]
        metrics += _spread(table, subset, grader, rows)
        if subset == "all":
            metrics += _forecasts(table, grader)
    return metrics


def _these(column: _Column, rows: Ints, n: Ints) -> tuple[float | None, float | None, str | None]:
    """Return the interval for these problems, or the reason why there is none."""
    if column.k is None or column.right is None:
        return None, None, _NO_ESTIMATE
    if reason := intervals.why_untold(int(n[rows].min()), column.k):
        return None, None, reason
    right = np.asarray(column.right[rows]).astype(np.int64)
    low, high = intervals.these_problems(n[rows], right, [column.k], np.asarray(column.weights[rows], dtype=np.float64))
    return float(low[0]), float(high[0]), None


def _spread(table: ProblemTable, subset: str, grader: str, rows: Ints) -> list[Metric]:
    """Return the variance of a sample within a problem, that between problems, and the reliability of c / n."""
    found = intervals.variance_split(table.n[rows], table.correct[rows].sum(axis=1))
    status = table.status[rows]
    return [
        _metric(
            _Column(name=name, values=table.cut, weights=table.cut), subset, grader, status, [value, *3 * [math.nan]]
        )
        for name, value in zip(SPREAD, found, strict=True)
    ]


def _forecasts(table: ProblemTable, grader: str) -> list[Metric]:
    """Return pass@k of 2 and 4 times n: the interval is what the samples leave possible, the value one law's forecast.

    One sample of a problem tells nothing of a second one.
    """
    least = int(table.n.min())
    if least < 2 or len(table.n) < 2:
        return []
    c = table.correct.sum(axis=1)
    found = beyond(table.n, c, [2 * least, FARTHEST * least])
    told = (None, None, f"k is above n = {least}")
    return [
        _metric(
            _Column(name=f"pass@{k}{FORECAST}", values=c, weights=table.n), "all", grader, table.status,
            [forecast, math.nan, low, high], told,
        )
        for k, forecast, low, high in zip(found.k, found.forecast, found.low, found.high, strict=True)
    ]  # fmt: skip


def _metric(
    column: _Column,
    subset: str,
    grader: str,
    status: Ints,
    numbers: list[float],
    these: tuple[float | None, float | None, str | None] = (None, None, _NO_ESTIMATE),
) -> Metric:
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
        these_low=these[0],
        these_high=these[1],
        these_reason=these[2],
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
    problem_rates = [(f"maj@{k}", _majority(table, k, seed)) for k in ks]
    problem_rates += _stability(n, c)
    one = np.ones(len(n))
    solved_if_graded = _ratio(c, graded)
    shares = [(name, table.status[:, index]) for index, name in enumerate(STATUSES)] + [("length_limit", table.cut)]
    means = [("tokens", table.tokens, table.counted), ("logprob_per_token", table.logprob, table.scored_tokens)]
    return [
        _Column(name=average, values=c / n, weights=n, k=1, right=c),
        *(_Column(name=f"pass@{k}", values=curve[:, column], weights=one, k=k, right=c) for column, k in enumerate(ks)),
        *(_Column(name=name, values=rates, weights=one) for name, rates in problem_rates),
        _Column(name=f"{average}|graded", values=solved_if_graded, weights=graded, graded_only=True),
        _Column(name="pass@1|graded", values=solved_if_graded, weights=np.minimum(graded, 1), graded_only=True),
        *(_Column(name=name, values=count / n, weights=n, k=1, right=count) for name, count in shares),
        *(_Column(name=name, values=_ratio(of, count), weights=count, bounded=False) for name, of, count in means),
        *(_thought_columns(table.thoughts, n) if table.thoughts else ()),
    ]


def _thought_columns(found: ThoughtTable, n: Ints) -> list[_Column]:
    """Return what the thoughts are like; a mean over right (or other) samples only is named so."""
    all_of = found.n.sum(axis=0)
    columns = [_Column(name="thought", values=all_of / n, weights=n)]
    for name, counted in (("thought_whole", found.whole), ("thought_unended", found.unended)):
        columns.append(_Column(name=name, values=_ratio(counted.sum(axis=0), all_of), weights=all_of))
    for name, summed in (("thought_tokens", found.tokens), ("reflections", found.turns)):
        parts = [(name, summed.sum(axis=0), all_of)]
        parts += [(f"{name}|{part}", summed[row], found.n[row]) for row, part in enumerate(("right", "other"))]
        columns += [_Column(name=of, values=_ratio(*pair), weights=pair[1], bounded=False) for of, *pair in parts]
    return columns


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
