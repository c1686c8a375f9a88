"""The numbers of a ledger: one model against another over the problems of each subset, as JSON can hold them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench import intervals, stats
from expo_bench.extrapolation import FARTHEST, beyond
from expo_bench.ledger import comparisons, exchange
from expo_bench.ledger.comparisons import CELLS, Estimate
from expo_bench.ledger.outcomes import Outcomes
from expo_bench.rows import Problem
from expo_bench.stats import Floats, Ints

DRAWS = 2000
FLIPS = 10_000
ZERO_SET_SAMPLES = 128
UNLOCK_K = 4
G_PASS_K = 16
G_PASS_TAUS = (0.5, 0.75, 1.0)
COVER_TAUS = (0.25, 0.5, 0.75, 1.0)

Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two models on the same P problems; all arrays have shape (P,)."""

    base_n: Ints
    base_c: Ints
    trained_n: Ints
    trained_c: Ints
    """All samples of each model."""
    n: Ints
    """Matched budget: the smaller of the two numbers of samples."""
    base_first: Ints
    trained_first: Ints
    """Right ones among the first n samples of each model."""
    base_agreement: Floats
    trained_agreement: Floats
    """Chance that two of the first n samples give the same answer; 0 where n is 1."""
    base_half: Ints | None = None
    """Right ones among the first half of the base's samples; None where their order is not known."""

    @property
    def cells(self) -> Ints:
        """Coverage cell of each problem at the matched budget."""
        return comparisons.coverage_cells(self.base_first > 0, self.trained_first > 0)

    @property
    def swap_chance(self) -> Floats:
        """Chance of "trained only", and of "base only", if both models are the same policy."""
        return exchange.swap_chance(self.n, self.base_first + self.trained_first)

    def take(self, rows: NDArray[np.intp]) -> "Pair":
        """Return these problems alone."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        taken: dict[str, Any] = {name: column if column is None else column[rows] for name, column in columns.items()}
        return Pair(**taken)


def match(base: Outcomes, trained: Outcomes) -> Pair:
    """Return the two runs, which hold the same problems in the same order, at matched budget."""
    n = np.minimum(base.n, trained.n)
    return Pair(
        base_n=base.n,
        base_c=base.solved(base.n),
        trained_n=trained.n,
        trained_c=trained.solved(trained.n),
        n=n,
        base_first=base.solved(n),
        trained_first=trained.solved(n),
        base_agreement=np.nan_to_num(base.agreement(n)),
        trained_agreement=np.nan_to_num(trained.agreement(n)),
        base_half=base.solved(base.n // 2),
    )


def level_subsets(problems: Sequence[Problem]) -> dict[str, NDArray[np.intp]]:
    """Return "all" and each level, as metrics name them, with the places of their problems."""
    several = len({problem.benchmark for problem in problems}) > 1
    found: dict[tuple[str, int], list[int]] = {}
    for place, problem in enumerate(problems):
        if problem.level is not None:
            found.setdefault((problem.benchmark if several else "", problem.level), []).append(place)
    subsets = {"all": np.arange(len(problems))}
    for benchmark, level in sorted(found):
        name = f"benchmark={benchmark},level={level}" if several else f"level={level}"
        subsets[name] = np.array(found[benchmark, level], dtype=np.intp)
    return subsets


def subset_numbers(pair: Pair, seed: int) -> Numbers:
    """Return every number of the ledger for these problems.

    Args:
        pair: the problems of the subset.
        seed: of the bootstrap and the permutation tests.
    """
    ks = list(range(1, int(pair.n.min()) + 1))
    base_curve = stats.pass_at_k_curve(pair.base_n, pair.base_c, ks)
    trained_curve = stats.pass_at_k_curve(pair.trained_n, pair.trained_c, ks)
    names, *rates = _stability(pair)
    # the same draws serve both
    base, trained = (np.concatenate(both, axis=1) for both in zip((base_curve, trained_curve), rates, strict=True))
    found = comparisons.paired(base, trained, DRAWS, seed)
    curves, stable = found.part(slice(len(ks))), found.part(slice(len(ks), None))
    return {
        "n_problems": len(pair.n),
        "budget": {"smallest": int(pair.n.min()), "largest": int(pair.n.max())},
        **_coverage(pair, base_curve, seed),
        "tests": _tests(pair, base_curve, trained_curve, seed),
        "pass_at_k": {"k": ks, **_curves(pair, ks, curves)},
        "crossover": _crossover(curves.difference.value, curves.draws),
        "sampling_efficiency_gap": {"k": ks[-1], **_difference(base_curve[:, -1] - trained_curve[:, 0])},
        "stability": {
            name: {side: _one(getattr(stable, side), column) for side in ("base", "trained", "difference")}
            for column, name in enumerate(names)
        },
        "accuracy_flows": comparisons.accuracy_flows(
            (pair.base_n, pair.base_c), (pair.trained_n, pair.trained_c)
        ).tolist(),
        "unlock": _unlock(pair, seed),
    }


def _curves(pair: Pair, ks: Sequence[int], curves: comparisons.Paired) -> Numbers:
    """Return values with both intervals: `low`, `high` for problems like these, `these_...` for these problems."""
    here = {
        side: intervals.these_problems(n, c, ks)
        for side, n, c in (("base", pair.base_n, pair.base_c), ("trained", pair.trained_n, pair.trained_c))
    }
    base, trained = curves.base.value, curves.trained.value
    here["difference"] = intervals.newcombe((base, *here["base"]), (trained, *here["trained"]))
    return {
        side: {
            **_lists(getattr(curves, side)),
            **{name: _list(ends) for name, ends in zip(("these_low", "these_high"), here[side], strict=True)},
        }
        for side in ("base", "trained", "difference")
    }


def reach_beyond(pair: Pair) -> Numbers:
    """Return pass@k of both models for k of 2 and 4 times n: what the samples leave possible."""
    found = {}
    for side, n, c in (("base", pair.base_n, pair.base_c), ("trained", pair.trained_n, pair.trained_c)):
        least = int(pair.n.min())
        ks = [2 * least, FARTHEST * least]
        told = beyond(n, c, ks)
        found[side] = {"low": _list(told.low), "high": _list(told.high), "forecast": _list(told.forecast)}
    return {"k": ks, **found, "not_identified_above": FARTHEST * least}


def _coverage(pair: Pair, base_curve: Floats, seed: int) -> Numbers:
    cells, chances = pair.cells, pair.swap_chance
    total = dict(zip(CELLS, np.bincount(cells, minlength=len(CELLS)).tolist(), strict=True))
    ratios = comparisons.support(cells, DRAWS, seed)
    half = base_curve.shape[1] // 2
    right = pair.base_first + pair.trained_first
    return {
        "cells": total,
        "null": {
            "expected": float(chances.sum()),
            **{
                f"p_{cell}": exchange.chance_of_at_least(total[cell], chances) for cell in ("trained_only", "base_only")
            },
            "weighted": {
                f"p_{cell}": exchange.weighted_p(cells == CELLS.index(cell), pair.n, right)
                for cell in ("trained_only", "base_only")
            },
            "decides": "weighted" if pair.n.min() >= exchange.WEIGHTED_FROM else "count",
            "base_halves": _halves(base_curve, half) if half else None,
        },
        **{name: _one(ratios, column) for column, name in enumerate(("srr", "ndr", "nscr"))},
    }


def _halves(base_curve: Floats, half: int) -> Numbers:
    # solved by the second of two hands and not by the first = solved by both hands together - solved by the first
    return {"budget": half, "expected": float((base_curve[:, 2 * half - 1] - base_curve[:, half - 1]).sum())}


def _tests(pair: Pair, base_curve: Floats, trained_curve: Floats, seed: int) -> Numbers:
    pass_1 = trained_curve[:, 0] - base_curve[:, 0]
    # both at the matched budget, so that exchanging the models exchanges all that the difference is made of
    mean = (pair.trained_first - pair.base_first) / pair.n
    solved = (pair.trained_first > 0).astype(np.float64) - (pair.base_first > 0)
    agreement = pair.trained_agreement - pair.base_agreement
    p = exchange.sign_flip_p(np.stack([mean, mean - solved, agreement], axis=1), FLIPS, seed)
    cells = np.bincount(pair.cells, minlength=len(CELLS))
    return {
        "pass_1": {
            "difference": float(pass_1.mean()),
            "p": float(p[0]),
            "p_these": exchange.same_problems_p(pair.n, pair.base_first, pair.trained_first),
        },
        "narrowing": {"difference": float((mean - solved).mean()), "p": float(p[1])},
        "agreement": {"difference": float(agreement.mean()), "p": float(p[2])},
        "mcnemar": {"p": exchange.mcnemar_p(int(cells[1]), int(cells[2]))},
    }


def _crossover(difference: Floats, draws: Floats) -> Numbers:
    place = comparisons.crossover(difference[np.newaxis])[0]
    drawn = comparisons.crossover(draws)
    # infinity has no place between two draws: the ends are draws themselves
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    ends = {"k": place + 1, "low": low + 1, "high": high + 1}
    return {
        **{name: int(end) if math.isfinite(end) else None for name, end in ends.items()},
        "share_of_draws": float(np.isfinite(drawn).mean()),
    }


def _stability(pair: Pair) -> tuple[list[str], Floats, Floats]:
    """Return the names of the columns, and both models' rates, shape (P, M) each."""
    k = min(int(pair.n.min()), G_PASS_K)
    names = [*(f"Cover@{tau}" for tau in COVER_TAUS), *(f"G-Pass@{k}_{tau}" for tau in G_PASS_TAUS), "agreement"]
    base, trained = _rates(pair.base_n, pair.base_c, k), _rates(pair.trained_n, pair.trained_c, k)
    return names, np.column_stack([base, pair.base_agreement]), np.column_stack([trained, pair.trained_agreement])


def _rates(n: Ints, c: Ints, k: int) -> Floats:
    cover = [stats.cover_at_tau(n, c, tau) for tau in COVER_TAUS]
    return np.stack([*cover, *(stats.g_pass_at_k(n, c, k, tau) for tau in G_PASS_TAUS)], axis=1)


def _unlock(pair: Pair, seed: int) -> Numbers:
    rows = np.flatnonzero(pair.base_c == 0)
    if not len(rows):
        return {"zero_set": 0, "unlocked": None, "halves": None, "reason": "the base solves every problem"}
    zero, n = pair.take(rows), int(pair.base_n[rows].min())
    k = min(UNLOCK_K, int(zero.trained_n.min()))
    bound = comparisons.zero_bound(n)
    return {
        "zero_set": len(rows),
        "base_n": n,
        "enough_samples": n >= ZERO_SET_SAMPLES,
        "base_rate_at_most": bound,
        "base_pass_at_k_at_most": -math.expm1(k * math.log1p(-bound)) if bound < 1 else 1.0,
        "k": k,
        "unlocked": _rate(stats.pass_at_k(zero.trained_n, zero.trained_c, k), seed),
        "ever_solved": int((zero.trained_c > 0).sum()),
        "halves": _half_unlock(pair, seed),
    }


def _half_unlock(pair: Pair, seed: int) -> Numbers | None:
    """Return what both models solve where the base's first half solves nothing; its other half is the baseline.

    On problems that are chosen because the base failed, the base itself does better the next time: the zero set is
    chosen by samples that the baseline is not made of.
    """
    half = pair.base_n // 2
    if pair.base_half is None or half.min() < 1 or not (rows := np.flatnonzero(pair.base_half == 0)).size:
        return None
    zero = pair.take(rows)
    rest, right = zero.base_n - half[rows], zero.base_c
    k = min(UNLOCK_K, int(rest.min()), int(zero.trained_n.min()))
    base, trained = stats.pass_at_k(rest, right, k), stats.pass_at_k(zero.trained_n, zero.trained_c, k)
    zero_n = int(half[rows].min())
    return {
        "zero_set": len(rows), "base_n": zero_n, "k": k,
        "base": _rate(base, seed), "trained": _rate(trained, seed), "difference": _difference(trained - base),
    }  # fmt: skip


def _rate(rates: Floats, seed: int) -> Numbers:
    column = rates[:, np.newaxis]
    low, high = intervals.rates(column, np.ones_like(column), DRAWS, seed)
    return {"value": float(rates.mean()), "low": _number(low[0]), "high": _number(high[0])}


def _difference(values: Floats) -> Numbers:
    low, high = intervals.differences(values[:, np.newaxis])
    return {"value": float(values.mean()), "low": _number(low[0]), "high": _number(high[0])}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _one(estimate: Estimate, column: int) -> Numbers:
    return {name: _number(getattr(estimate, name)[column]) for name in ("value", "low", "high")}


def _lists(estimate: Estimate) -> Numbers:
    return {name: _list(getattr(estimate, name)) for name in ("value", "low", "high")}


def _list(values: Floats) -> list[float | None]:
    return [_number(value) for value in values]
