"""Any runs side by side, none of them a base: which is better, on which problems, and what the ranks may be."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import hypergeom

from expo_bench import intervals, stats
from expo_bench.errors import UserError
from expo_bench.ledger.compare import TARGETS, Request, check_answers, check_protocols, common_problems, names_of
from expo_bench.ledger.contents import DRAWS, FLIPS
from expo_bench.ledger.exchange import holm, same_problems_p, sign_flip_p
from expo_bench.ledger.outcomes import Outcomes, read_outcomes
from expo_bench.stats import Ints

SCHEMA_VERSION = 1
LEVEL = 0.05
_SHOWN = 20


def rank(
    paths: Sequence[Path], *, grader: str, allow_different_protocol: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Compare several runs with one another on the problems that all of them hold; nothing is written.

    `runs` have pass@1 and pass@k for both targets, and ranks; `pairs` the difference, p for both targets, adjusted
    for all pairs (Holm), and the problems on which the two differ. A run's best rank is 1 + the runs that are
    significantly better, its worst the number of runs less those that are significantly worse: 95% for all ranks at
    once (Mogstad et al. 2024).

    Raises:
        UserError: as `compare.compare`, or fewer than two runs.
    """
    if len(paths) < 2:
        raise UserError("name two runs or more: one alone has no rank")
    request = Request(base=paths[0], trained=tuple(paths[1:]), allow_different_protocol=allow_different_protocol)
    names = names_of(request)
    read = {path: read_outcomes(path, grader, name) for path, name in names.items()}
    differing = check_protocols(request, read)
    ids = common_problems(read)
    runs = [run.only(ids) for run in read.values()]
    check_answers(runs, list(runs[0].problems.values()))
    counts = [(run.n, run.solved(run.n)) for run in runs]
    k = min(int(n.min()) for n, _ in counts)
    pairs = [_pair(runs[a], runs[b], seed) for a, b in combinations(range(len(runs)), 2)]
    for key in ("p", "p_these"):
        for place, p in holm({place: pair[key] for place, pair in enumerate(pairs)}).items():
            pairs[place][f"holm_{key}"] = p
    shown = [
        {"name": run.name, **_rates(n, c, sorted({1, k}), seed), "n": int(n.min())}
        for run, (n, c) in zip(runs, counts, strict=True)
    ]
    for one in shown:
        one["rank"] = _ranks(one["name"], pairs, len(runs), "holm_p")
        one["these_rank"] = _ranks(one["name"], pairs, len(runs), "holm_p_these")
    shown.sort(key=lambda one: -one["pass_at_k"]["1"]["value"])
    return {
        "schema_version": SCHEMA_VERSION,
        "grader": grader,
        "n_problems": len(ids),
        "targets": TARGETS,
        "family": f"p holds for all {len(pairs)} pairs at once (Holm)",
        "protocol_differs_in": differing,
        "runs": shown,
        "pairs": pairs,
        "sentence": _sentence(shown, pairs, len(ids)),
    }


def _rates(n: Ints, c: Ints, ks: Sequence[int], seed: int) -> dict[str, Any]:
    curve = stats.pass_at_k_curve(n, c, ks)
    low, high = intervals.rates(curve, np.ones_like(curve), DRAWS, seed)
    here = intervals.these_problems(n, c, ks)
    told = zip(ks, curve.mean(axis=0), low, high, *here, strict=True)
    names = ("value", "low", "high", "these_low", "these_high")
    return {
        "pass_at_k": {
            str(k): dict(zip(names, (None if np.isnan(one) else float(one) for one in numbers), strict=True))
            for k, *numbers in told
        }
    }


def _pair(one: Outcomes, other: Outcomes, seed: int) -> dict[str, Any]:
    n = np.minimum(one.n, other.n)
    first, second = one.solved(n), other.solved(n)
    sides = [(run.n, run.solved(run.n)) for run in (one, other)]
    rates = [stats.pass_at_k(*side, 1) for side in sides]
    change = (rates[1] - rates[0])[:, np.newaxis]
    low, high = intervals.differences(change)
    here = intervals.newcombe(*((rate.mean(keepdims=True), *intervals.these_problems(*side, [1])) for rate, side in
                                zip(rates, sides, strict=True)))  # fmt: skip
    numbers = [float(change.mean()), *(float(end[0]) for end in (low, high, *here))]
    return {
        "one": one.name,
        "other": other.name,
        "pass_1": dict(
            zip(("difference", "low", "high", "these_low", "these_high"), map(_known, numbers), strict=True)
        ),
        "p": float(sign_flip_p(((second - first) / n)[:, np.newaxis], FLIPS, seed)[0]),
        "p_these": same_problems_p(n, first, second),
        "problems": _apart(list(one.problems), n, first, second),
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _apart(ids: Sequence[str], n: Ints, first: Ints, second: Ints) -> dict[str, Any]:
    """Return the problems on which the two differ: Fisher's exact test of each, for all problems at once (Holm)."""
    ps = _fisher(n, first, second)
    adjusted = holm(dict(zip(ids, ps, strict=True)))
    rows = zip(ids, n.tolist(), first.tolist(), second.tolist(), strict=True)
    found = [
        {"problem_id": name, "n": size, "one": a, "other": b, "p": adjusted[name]}
        for name, size, a, b in rows
        if adjusted[name] <= LEVEL
    ]
    found.sort(key=lambda row: row["p"])
    better = {side: sum((row["other"] > row["one"]) == (side == "other") for row in found) for side in ("one", "other")}
    return {**better, "shown": found[:_SHOWN]}


def _fisher(n: Ints, first: Ints, second: Ints) -> list[float]:
    ps = []
    for size, a, b in zip(n.tolist(), first.tolist(), second.tolist(), strict=True):
        # by symmetry of equal n both tails are alike
        ps.append(min(1.0, 2 * float(hypergeom.sf(max(a, b) - 1, 2 * size, a + b, size))))
    return ps


def _ranks(name: str, pairs: Sequence[dict[str, Any]], runs: int, key: str) -> list[int]:
    better = worse = 0
    for pair in pairs:
        if pair[key] <= LEVEL and name in (pair["one"], pair["other"]):
            other_wins = pair["pass_1"]["difference"] > 0
            won = other_wins == (pair["other"] == name)
            better, worse = better + (not won), worse + won
    return [1 + better, runs - worse]


def _sentence(runs: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]], problems: int) -> str:
    first, second = runs[0], runs[1]
    names = {first["name"], second["name"]}
    pair = next(one for one in pairs if {one["one"], one["other"]} == names)
    told = {
        (True, True): "is better than {}, on these problems and on problems like these",
        (True, False): "is better than {} on these problems; for problems like these that is not shown",
        (False, True): "is better than {} for problems like these; on these problems it is not shown",
        (False, False): "comes first, but that it is better than {} is not shown",
    }[pair["holm_p_these"] <= LEVEL, pair["holm_p"] <= LEVEL].format(second["name"])
    solved = [f"{one['pass_at_k']['1']['value']:.1%}" for one in (first, second)]
    return (
        f"{first['name']} {told}: pass@1 {solved[0]} against {solved[1]} on {problems} problems "
        f"(p = {pair['holm_p_these']:.2g} for these problems, {pair['holm_p']:.2g} for problems like these)."
    )
