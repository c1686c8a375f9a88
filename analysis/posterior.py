"""Lemma 2 of ExPO (arXiv 2507.02834): what a chain from the Bayes posterior gains, and what a prompted one does.

With f(c) = pi(a*|q,c) and c ~ pi(.|q), the posterior pi(c|q) f(c) / E[f] has E_post[f] = E[f^2] / E[f], which is
Var(f) / E[f] above E[f]. All sums are taken in logarithms: f may be too small for a float.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from analysis.resampling import Estimate, Floats, mean


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemGain:
    """The two gains on one problem; differences of probabilities, and of their logarithms (`log_`, in nats)."""

    problem_id: str
    level: int | None
    k: int
    """Own chains."""
    hit: bool
    """Whether one of the own chains reaches the answer."""
    own_f: float
    posterior_gain: float
    """From the own chains alone: never above the largest f among them."""
    jackknife_gain: float | None
    measured_gain: float
    """Mean f of the self-explanations minus mean f of the own chains."""
    log_posterior_gain: float
    log_measured_gain: float
    enumerated_gain: float | None = None
    """From the probabilities of all chains at hand."""
    enumerated_j: float | None = None
    """E[f] over the chains at hand: at most their share of J(q), which is at most 1 - coverage more."""
    enumerated_measured_gain: float | None = None
    """Mean f of the self-explanations minus the enumerated E[f]."""
    log_enumerated_gain: float | None = None
    log_enumerated_measured_gain: float | None = None
    coverage: float | None = None
    """Probability under pi(.|q) of the chains at hand."""


def sampled_gain(log_f: Floats) -> tuple[float, float]:
    """Return Var(f) / E[f] and log(E[f^2] / E[f]^2), the moments taken over K own chains as if they were all.

    Args:
        log_f: log pi(a*|q,c) of chains drawn from pi(.|q), shape (K,).
    """
    return enumerated_gain(np.full(len(log_f), -np.log(len(log_f))), log_f)


def jackknife_gain(log_f: Floats) -> float | None:
    """Return the jackknife's correction of `sampled_gain`: K g - (K-1) mean of g without one chain (Quenouille 1956).

    It removes bias of order 1/K; where a single chain has nearly all of f it overshoots, up to values above 1.
    """
    k = len(log_f)
    if k < 2:
        return None
    without = [sampled_gain(np.delete(log_f, one))[0] for one in range(k)]
    return float(k * sampled_gain(log_f)[0] - (k - 1) * np.mean(without))


def enumerated_gain(log_p: Floats, log_f: Floats) -> tuple[float, float]:
    """Return E[f^2]/E[f] - E[f] and its logarithmic version, for known chain probabilities.

    Args:
        log_p: log pi(c|q) of distinct chains, shape (N,); chains that are missing count as f = 0.
        log_f: log pi(a*|q,c), shape (N,).
    """
    first = logsumexp(log_p + log_f)
    posterior = logsumexp(log_p + 2 * log_f) - first
    return float(np.exp(posterior) - np.exp(first)), float(posterior - first)


def log_mean(log_f: Floats) -> float:
    """Return the logarithm of the mean of f, shape (K,)."""
    return float(logsumexp(log_f) - np.log(len(log_f)))


def summarise(rows: Sequence[ProblemGain], *, draws: int, seed: int) -> list[dict[str, object]]:
    """Return means over problems with 95% intervals, for all problems and by level.

    `posterior_gap` is the measured gain minus the posterior's, `enumerated_gap` the same with the enumerated moments.
    """
    found: list[dict[str, object]] = []
    levels = sorted({row.level for row in rows if row.level is not None})
    for level in [None, *levels]:
        chosen = [row for row in rows if level in (None, row.level)]
        for name, values in _columns(chosen).items():
            estimate: Estimate = mean(values, draws=draws, seed=seed)
            found.append(
                {
                    "subset": "all" if level is None else f"level={level}",
                    "name": name,
                    "value": estimate.value,
                    "ci_low": estimate.ci_low,
                    "ci_high": estimate.ci_high,
                    "n_problems": estimate.n_problems,
                    "k_min": min(row.k for row in chosen),
                    "k_max": max(row.k for row in chosen),
                }
            )
    return found


def _columns(rows: Sequence[ProblemGain]) -> dict[str, Floats]:
    names = [one for one in ProblemGain.__dataclass_fields__ if one not in ("problem_id", "level", "k")]
    columns = {name: np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in names}
    for gap, one, other in (
        ("posterior_gap", "measured_gain", "posterior_gain"),
        ("log_posterior_gap", "log_measured_gain", "log_posterior_gain"),
        ("enumerated_gap", "enumerated_measured_gain", "enumerated_gain"),
        ("log_enumerated_gap", "log_enumerated_measured_gain", "log_enumerated_gain"),
    ):
        columns[gap] = columns[one] - columns[other]
    return columns
