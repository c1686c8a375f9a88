"""How a step on one chain changes J: <grad J, g(s)>, against how likely the policy finds the chain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import logsumexp, softmax

from analysis.gradients import ProblemGradients, enumerated_weights, own_weights
from analysis.resampling import Estimate, Floats, mean, spearman, spearman_interval

BIN_EDGES = (0.0, 1e-9, 1e-6, 1e-3, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
"""Of pi(c,a|q)."""
QUANTITIES = (
    "norm", "p_norm", "own_term", "alignment", "log_j_alignment", "cosine", "own_alignment", "own_cosine",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """One distinct chain s = (c, a) with g = grad log pi(c,a|q); "own_" marks grad J estimated from own chains."""

    problem_id: str
    level: int | None
    candidate_id: str
    source: str
    count: int
    reaches_answer: bool
    log_p: float
    """log pi(c,a|q), nats."""
    norm: float
    """||g||."""
    p_norm: float
    """pi(c,a|q) ||g||."""
    own_term: float
    """pi(c,a|q) ||g||^2."""
    alignment: float
    """<grad J, g>, grad J enumerated over the problem's chains."""
    log_j_alignment: float
    """<grad log J, g>: the same divided by J(q), so that problems compare."""
    cosine: float
    own_share: float
    """Share of <grad J, g> that the chain's own addend of grad J makes up; NaN where its cut chain is another's."""
    own_alignment: float
    """<grad J, g> from own chains; an own chain is compared with the K - 1 others. NaN where there are none."""
    own_cosine: float


def aligned(problem_id: str, level: int | None, found: ProblemGradients) -> list[Aligned]:
    """Return a problem's chains with their alignment."""
    enumerated = enumerated_weights(found)
    log_j = float(logsumexp(enumerated))
    shares = softmax(enumerated)
    inner, cosine = _project(found, enumerated)
    rows = []
    for at, chain in enumerate(found.chains):
        own = own_weights(found, without=at if chain.source.startswith("own") else None)
        if np.isneginf(own).all():
            own_inner, own_cosine, own_log_j = np.nan, np.nan, 0.0
        else:
            projected = _project(found, own)
            own_inner, own_cosine, own_log_j = projected[0][at], projected[1][at], float(logsumexp(own))
        p, norm = float(np.exp(found.log_p[at])), float(found.norms[at])
        rows.append(
            Aligned(
                problem_id=problem_id,
                level=level,
                candidate_id=chain.candidate_id,
                source=chain.source,
                count=chain.count,
                reaches_answer=chain.reaches_answer,
                log_p=float(found.log_p[at]),
                norm=norm,
                p_norm=p * norm,
                own_term=p * norm**2,
                alignment=float(inner[at] * np.exp(log_j)),
                log_j_alignment=float(inner[at]),
                cosine=float(cosine[at]),
                own_share=float(shares[at] * found.cross[at, at] / inner[at]) if shares[at] > 0 else np.nan,
                own_alignment=float(own_inner * np.exp(own_log_j)),
                own_cosine=float(own_cosine),
            )
        )
    return rows


def _project(found: ProblemGradients, log_weights: Floats) -> tuple[Floats, Floats]:
    """Return <grad log J, g> and the cosine of each chain, (N,), grad log J = sum of softmax(log_weights) h."""
    weights = softmax(log_weights)
    inner = found.cross @ weights
    length = np.sqrt(weights @ found.joint @ weights)
    return inner, inner / (found.norms * length)


def correlations(rows: Sequence[Aligned], *, draws: int, seed: int) -> list[dict[str, object]]:
    """Return Spearman's correlation of each quantity with log pi(c,a|q), by group of chains and within problems.

    The groups are all chains, each source, and the chains that reach the answer: all of them, and the policy's own
    self-explanations. Within: each problem's own correlation over its chains of all sources, averaged; this takes
    differences between problems out.
    """
    order = sorted({row.problem_id for row in rows})
    owners = np.array([order.index(row.problem_id) for row in rows])
    log_p = np.array([row.log_p for row in rows])
    found: list[dict[str, object]] = []
    groups = {name: np.array([chosen(row) for row in rows]) for name, chosen in _groups(rows).items()}
    for quantity in QUANTITIES:
        values = np.array([getattr(row, quantity) for row in rows])
        for source, kept in groups.items():
            estimate = spearman_interval(log_p[kept], values[kept], owners[kept], draws=draws, seed=seed)
            found.append(_row(quantity, source, estimate, int((kept & ~np.isnan(values)).sum())))
        within = np.array([_within(log_p, values, owners == one) for one in range(len(order))])
        estimate = mean(within, draws=draws, seed=seed)
        found.append(_row(quantity, "within problems", estimate, int((~np.isnan(values)).sum())))
    return found


def _groups(rows: Sequence[Aligned]) -> dict[str, Callable[[Aligned], bool]]:
    groups: dict[str, Callable[[Aligned], bool]] = {"all": lambda _: True}
    for source in sorted({row.source for row in rows}):
        groups[source] = partial(_is_from, source)
    groups["all that reach"] = lambda row: row.reaches_answer
    groups["explanations that reach"] = lambda row: row.reaches_answer and row.source == "self_explanation"
    return groups


def _is_from(source: str, row: Aligned) -> bool:
    return row.source == source


def _within(log_p: Floats, values: Floats, kept: np.ndarray) -> float:
    kept = kept & ~np.isnan(values)
    return spearman(log_p[kept], values[kept]) if kept.sum() > 2 else np.nan


def _row(quantity: str, source: str, estimate: Estimate, n_chains: int) -> dict[str, object]:
    return {
        "quantity": quantity,
        "source": source,
        "spearman": estimate.value,
        "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high,
        "n_problems": estimate.n_problems,
        "n_chains": n_chains,
    }


def by_source(rows: Sequence[Aligned], *, draws: int, seed: int) -> list[dict[str, object]]:
    """Return medians of the quantities and the mean cosines with intervals, by the groups of `correlations`."""
    found: list[dict[str, object]] = []
    for source, belongs in _groups(rows).items():
        chosen = [row for row in rows if belongs(row)]
        if not chosen:
            continue
        medians = {
            name: _median([getattr(row, name) for row in chosen]) for name in ("log_p", "own_share", *QUANTITIES)
        }
        problems = sorted({row.problem_id for row in chosen})
        means = np.array([np.mean([row.cosine for row in chosen if row.problem_id == one]) for one in problems])
        cosine = mean(means, draws=draws, seed=seed)
        found.append(
            {
                "source": source,
                "n_chains": len(chosen),
                "n_problems": len(problems),
                "mean_cosine": cosine.value,
                "mean_cosine_ci": [cosine.ci_low, cosine.ci_high],
                "positive_alignment": float(np.mean([row.alignment > 0 for row in chosen])),
                "median": medians,
            }
        )
    return found


def _median(values: Sequence[float]) -> float | None:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else None


def likelihood_bins(rows: Sequence[Aligned]) -> list[dict[str, object]]:
    """Return, for bins of p = pi(c,a|q), who stands there and the medians of ||g||, p ||g|| and p ||g||^2."""
    p = np.exp([row.log_p for row in rows])
    # the last bin holds its upper edge
    places = np.clip(np.searchsorted(BIN_EDGES, p, side="right") - 1, 0, len(BIN_EDGES) - 2)
    found: list[dict[str, object]] = []
    for place in range(len(BIN_EDGES) - 1):
        chosen = [row for row, at in zip(rows, places, strict=True) if at == place]
        sources = sorted({row.source for row in chosen})
        found.append(
            {
                "p_from": BIN_EDGES[place],
                "p_to": BIN_EDGES[place + 1],
                "n_chains": len(chosen),
                "sources": {source: sum(row.source == source for row in chosen) for source in sources},
                **{f"median_{name}": _median([getattr(row, name) for row in chosen]) for name in QUANTITIES[:3]},
            }
        )
    return found
