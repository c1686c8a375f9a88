"""The two-property table: by level and source, how likely the candidates are and how much they help.

docs/likelihood.md defines the columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expo_bench import intervals, stats
from expo_bench.likelihood.sampled_answers import compared, sampled_rates
from expo_bench.rows import SOURCES, Candidate, Likelihood, LikelihoodMetric, Problem, Source
from expo_bench.stats import Floats
from expo_bench.storage.run_folder import RunFolder

Scored = tuple[int, Candidate, Likelihood]
"""Position of the problem, the candidate, its likelihood."""

_REFERENCE: Source = "self_explanation"
_QUANTITIES: dict[str, Callable[[Candidate, Likelihood], float | None]] = {
    "mean_logprob": lambda _, row: row.mean_logprob,
    "answer_lift": lambda _, row: _lift(row),
    "answer_lift_answered": lambda _, row: None if row.answer_place == "end" else _lift(row),
    "answer_slack": lambda _, row: row.answer_slack,
    "answer_logprob_with": lambda _, row: row.answer_logprob_with,
    "answer_logprob_without": lambda _, row: row.answer_logprob_without,
    "mean_entropy": lambda _, row: row.mean_entropy,
    "tokens": lambda _, row: row.n_tokens,
    "rank": lambda _, row: row.rank,
    "reaches_answer": lambda candidate, _: candidate.reaches_answer,
    "leaks_answer": lambda candidate, _: candidate.leaks_answer,
    "repetitive": lambda candidate, _: candidate.repetitive,
    "truncated": lambda candidate, _: candidate.truncated,
}


def _lift(row: Likelihood) -> float | None:
    # rows of earlier versions hold another number
    return None if row.answer_place is None else row.answer_logprob_with - row.answer_logprob_without


_MEDIANS = {
    "mean_logprob": "median_logprob",
    "answer_lift": "median_lift",
    "logprob_gap": "median_logprob_gap",
    "lift_gap": "median_lift_gap",
}
"""Means that may be skewed -> the medians beside them."""
_RATES = {"reaches_answer", "leaks_answer", "repetitive", "truncated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One number of one source, problem by problem."""

    name: str
    source: Source
    values: Floats
    """Shape (P,)."""
    weights: Floats
    """Shape (P,); 0 where the problem does not enter."""
    counts: Floats
    """Candidates of the source that enter, shape (P,)."""


def compute(run: RunFolder, *, draws: int = 10_000, seed: int = 0) -> list[LikelihoodMetric]:
    """Compute the table of every policy under which the run's candidates were scored; nothing is written."""
    problems = list(run.problems())
    positions = {problem.problem_id: position for position, problem in enumerate(problems)}
    candidates = {(row.problem_id, row.candidate_id): row for row in run.candidates()}
    counts = stats.resample_counts(len(problems), draws, seed)
    metrics = []
    for policy in run.policies():
        # a row that stands twice in the file counts once
        rows_by_key = {(row.problem_id, row.candidate_id): row for row in run.likelihoods(policy)}
        scored = [(positions[key[0]], candidates[key], row) for key, row in rows_by_key.items() if key in candidates]
        columns = _columns(scored, len(problems), sampled_rates(run, policy))
        for subset, rows in _subsets(problems).items():
            metrics += _subset_metrics(columns, subset, policy, rows, counts.take(rows, axis=1))
    return metrics


def _columns(
    scored: Sequence[Scored], n_problems: int, rates: Mapping[tuple[str, str], tuple[float, float]]
) -> list[_Column]:
    present = {candidate.source for _, candidate, _ in scored}
    columns: dict[tuple[str, Source], _Column] = {}
    for source in (one for one in SOURCES if one in present):
        own = [one for one in scored if one[1].source == source]
        entries: dict[str, list[tuple[int, float]]] = {
            name: [(at, float(value)) for at, one, row in own if (value := quantity(one, row)) is not None]
            for name, quantity in _QUANTITIES.items()
        }
        for at, _, row in own:
            if (pair := rates.get((row.problem_id, row.candidate_id))) is not None and row.answer_place is not None:
                for name, value in compared(row, pair).items():
                    entries.setdefault(name, []).append((at, value))
        for name, known in entries.items():
            places = np.array([at for at, _ in known], dtype=np.intp)
            count = np.bincount(places, minlength=n_problems).astype(np.float64)
            total = np.bincount(places, weights=[value for _, value in known], minlength=n_problems)
            mean = total / np.maximum(count, 1)
            columns[name, source] = _Column(name=name, source=source, values=mean, weights=count, counts=count)
    return [*columns.values(), *_comparisons(columns, present - {_REFERENCE})]


def _comparisons(columns: dict[tuple[str, Source], _Column], sources: set[Source]) -> list[_Column]:
    """Return each source against the self-explanations of the same problems, problems with both only."""
    found = []
    for source in (one for one in SOURCES if one in sources and ("mean_logprob", _REFERENCE) in columns):
        for name, quantity in (("logprob_gap", "mean_logprob"), ("lift_gap", "answer_lift")):
            one, other = columns[quantity, source], columns[quantity, _REFERENCE]
            both = ((one.counts > 0) & (other.counts > 0)).astype(np.float64)
            gap = one.values - other.values
            found.append(_Column(name=name, source=source, values=gap, weights=both, counts=one.counts * both))
            if quantity == "mean_logprob":
                # a mean of ratios with the denominators as weights is the ratio of the means
                below = np.maximum(-other.values, 0) * both
                ratio = -one.values / np.where(below > 0, below, 1)
                used = one.counts * (below > 0)
                found.append(_Column(name="nll_ratio", source=source, values=ratio, weights=below, counts=used))
    return found


def _subsets(problems: Sequence[Problem]) -> dict[str, NDArray[np.intp]]:
    several = len({problem.benchmark for problem in problems}) > 1
    found: dict[tuple[str, int], list[int]] = {}
    names = {("", -1): "all"}
    for position, problem in enumerate(problems):
        benchmark = problem.benchmark if several else ""
        within = f"benchmark={benchmark}" if several else ""
        keys = [("", -1)]
        if several:
            keys.append((benchmark, -1))
            names[benchmark, -1] = within
        if problem.level is not None:
            keys.append((benchmark, problem.level))
            names[keys[-1]] = ",".join(filter(None, [within, f"level={problem.level}"]))
        for key in keys:
            found.setdefault(key, []).append(position)
    return {names[key]: np.array(found[key], dtype=np.intp) for key in sorted(found)}


def _subset_metrics(
    columns: Sequence[_Column],
    subset: str,
    policy: str,
    rows: NDArray[np.intp],
    draws: NDArray[np.uint8],
) -> list[LikelihoodMetric]:
    used = [column for column in columns if column.weights[rows].any()]
    if not used:
        return []
    values = np.stack([column.values[rows] for column in used], axis=1)
    weights = np.stack([column.weights[rows] for column in used], axis=1)
    rates = np.array([column.name in _RATES for column in used])
    ends = intervals.of_columns(values, weights, rates, draws, 0)
    found = []
    for column, *numbers in zip(used, *stats.clustered_mean(values, weights), *ends, strict=True):
        found.append(_metric(column, column.name, numbers, subset, policy, rows))
        if column.name in _MEDIANS:
            numbers = [*_median(column.values[rows], column.weights[rows] > 0, draws)]
            found.append(_metric(column, _MEDIANS[column.name], numbers, subset, policy, rows))
    return found


def _metric(
    column: _Column, name: str, numbers: Sequence[float], subset: str, policy: str, rows: NDArray[np.intp]
) -> LikelihoodMetric:
    value, stderr, low, high = map(_known, numbers)
    return LikelihoodMetric(
        name=name,
        subset=subset,
        source=column.source,
        policy=policy,
        value=value,
        stderr=stderr,
        ci_low=low,
        ci_high=high,
        n_problems=int((column.weights[rows] > 0).sum()),
        n_candidates=int(column.counts[rows].sum()),
    )


def _median(values: Floats, used: NDArray[np.bool_], draws: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return the median of the problems' means, no standard error, and the ends of a percentile interval."""
    order = np.argsort(values[used])
    rising = values[used][order]
    below = draws[:, used][:, order].cumsum(axis=1, dtype=np.int64)
    below = below[below[:, -1] > 0]
    if len(rising) < 2:
        return float(np.median(rising)), np.nan, np.nan, np.nan
    medians = rising[(2 * below >= below[:, -1:]).argmax(axis=1)]
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(np.median(rising)), np.nan, float(low), float(high)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
