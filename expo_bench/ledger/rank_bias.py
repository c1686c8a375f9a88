"""Whether the policy's right samples are its likely ones, before and after training."""

from typing import Any

import numpy as np

from expo_bench import stats
from expo_bench.ledger.comparisons import right_above_wrong
from expo_bench.ledger.outcomes import Outcomes
from expo_bench.ledger.scores import NOT_READ, Scores
from expo_bench.stats import Floats

Scored = tuple[Outcomes, Scores | None]


def rank_bias(base: Scored, trained: Scored, *, wanted: bool) -> dict[str, Any]:
    """Return the mean chance that a right sample is likelier than a wrong one of its problem, for both models.

    0.5: likelihood tells nothing about being right; 1: only the likeliest samples are right. The difference is over the
    problems on which both models have right and wrong samples.
    """
    if not wanted:
        return _without(NOT_READ)
    rates = []
    for run, scores in (base, trained):
        if scores is None:
            return _without(f"the samples of {run.name} carry no log-probability")
        rates.append(_problem_rates(run, scores))
    before, after = rates
    both = ~np.isnan(before) & ~np.isnan(after)
    return {
        "base": mean(before),
        "trained": mean(after),
        "difference": mean(after[both] - before[both]),
        "n_problems": int(both.sum()),
        "reason": None,
    }


def _without(reason: str) -> dict[str, Any]:
    return {"base": None, "trained": None, "difference": None, "n_problems": 0, "reason": reason}


def mean(rates: Floats) -> dict[str, float | None]:
    """Return the mean over problems and its standard error; NaN stands for a problem that does not tell."""
    known = rates[~np.isnan(rates)]
    value, error = stats.clustered_mean(known, np.ones(len(known)))
    return {
        name: float(number) if np.isfinite(number) else None for name, number in (("value", value), ("stderr", error))
    }


def _problem_rates(run: Outcomes, scores: Scores) -> Floats:
    ends = np.cumsum(run.n)[:-1]
    own = np.split(scores.sum_logprob, ends)
    known = [~np.isnan(part) for part in own]
    pairs = zip(own, np.split(run.correct, ends), known, strict=True)
    return np.array([right_above_wrong(part[told], right[told]) for part, right, told in pairs])
