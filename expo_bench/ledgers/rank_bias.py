"""Whether the policy's right samples are its likely ones, before and after training."""

from pathlib import Path
from typing import Any

import numpy as np

from expo_bench import stats
from expo_bench.comparisons import right_above_wrong
from expo_bench.ledgers.outcomes import Outcomes, read_scores
from expo_bench.stats import Floats


def rank_bias(base: tuple[Path, Outcomes], trained: tuple[Path, Outcomes], *, wanted: bool) -> dict[str, Any]:
    """Return the mean chance that a right sample is likelier than a wrong one of its problem, for both models.

    0.5: likelihood tells nothing about being right; 1: only the likeliest samples are right. The difference is over the
    problems on which both models have right and wrong samples.
    """
    if not wanted:
        return _without("asked for with --rank-bias, since it reads every sample")
    rates = []
    for path, run in (base, trained):
        found = _problem_rates(path, run)
        if found is None:
            return _without(f"the samples of {run.name} carry no log-probability")
        rates.append(found)
    before, after = rates
    both = ~np.isnan(before) & ~np.isnan(after)
    return {
        "base": _mean(before),
        "trained": _mean(after),
        "difference": _mean(after[both] - before[both]),
        "n_problems": int(both.sum()),
        "reason": None,
    }


def _without(reason: str) -> dict[str, Any]:
    return {"base": None, "trained": None, "difference": None, "n_problems": 0, "reason": reason}


def _mean(rates: Floats) -> dict[str, float | None]:
    known = rates[~np.isnan(rates)]
    value, error = stats.clustered_mean(known, np.ones(len(known)))
    return {
        name: float(number) if np.isfinite(number) else None for name, number in (("value", value), ("stderr", error))
    }


def _problem_rates(path: Path, run: Outcomes) -> Floats | None:
    found = read_scores(path)
    if found is None:
        return None
    place = {problem_id: at for at, problem_id in enumerate(run.problems)}
    ids, index, scores = found
    names, inverse = np.unique(ids, return_inverse=True)
    places = np.array([place.get(str(name), -1) for name in names])[inverse]
    kept = places >= 0
    keys = places[kept].astype(np.int64) << 32 | index[kept]
    order = np.argsort(keys)
    wanted = run.place.astype(np.int64) << 32 | run.index
    own = scores[kept][order[np.searchsorted(keys[order], wanted)]]
    ends = np.cumsum(run.n)[:-1]
    known = [~np.isnan(part) for part in np.split(own, ends)]
    pairs = zip(np.split(own, ends), np.split(run.correct, ends), known, strict=True)
    return np.array([right_above_wrong(part[told], right[told]) for part, right, told in pairs])
