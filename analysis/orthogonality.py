"""Are the gradients of different chains nearly orthogonal? Cosines by class of pair, and what chance would give."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from analysis.resampling import Floats

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 80


def cosines(gradients: NDArray[np.float32]) -> Floats:
    """Return all cosines, shape (N, N), of gradients of shape (N, D)."""
    lengths = np.linalg.norm(gradients.astype(np.float64), axis=1)
    return np.asarray((gradients @ gradients.T).astype(np.float64) / np.outer(lengths, lengths))


def null_quantile(dimension: int, q: float) -> float:
    """Return the quantile of the cosine of two independent directions, uniform on the sphere in `dimension` >= 2.

    (1 + cosine) / 2 is Beta((D-1)/2, (D-1)/2) distributed; the standard deviation is 1/sqrt(D).
    """
    half = (dimension - 1) / 2
    return float(2 * beta.ppf(q, half, half) - 1)


def pair_classes(problems: Sequence[str], sources: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return for each class of pair which of the (N, N) pairs belong to it, each pair once."""
    problem = np.equal.outer(np.asarray(problems), np.asarray(problems))
    source = np.equal.outer(np.asarray(sources), np.asarray(sources))
    once = np.triu(np.ones_like(problem), k=1)
    names = {True: "same", False: "different"}
    return {
        f"{names[one]} problem, {names[other]} source": once & (problem == one) & (source == other)
        for one in (True, False)
        for other in (True, False)
    }


def describe(
    found: Floats, problems: Sequence[str], sources: Sequence[str], *, dimension: int, draws: int, seed: int
) -> list[dict[str, object]]:
    """Return for each class of pair its cosines' quantiles, mean with interval, share above chance, and histogram.

    Args:
        found: from `cosines`.
        problems: of the N chains.
        sources: of the N chains.
        dimension: D; chance is the 97.5% quantile of the null, two-sided 5%.
        draws: bootstrap resamples of problems; in a resample a pair counts as often as its problems were drawn (the
            product of both counts for a pair of two problems).
        seed: of the resamples.
    """
    order = sorted(set(problems))
    owner = np.array([order.index(one) for one in problems])
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(len(order), size=len(order)), minlength=len(order)) for _ in range(draws)]
    counts = np.array(drawn, dtype=np.float64).reshape(draws, len(order))
    rows: list[dict[str, object]] = []
    for name, pairs in pair_classes(problems, sources).items():
        left, right = np.nonzero(pairs)
        values = found[left, right]
        if not len(values):
            continue
        low, high = _interval(values, owner[left], owner[right], counts)
        histogram, edges = np.histogram(values, bins=BINS, range=(-1, 1))
        rows.append(
            {
                "pairs": name,
                "n_pairs": len(values),
                "mean": float(values.mean()),
                "mean_ci": [low, high],
                "mean_absolute": float(np.abs(values).mean()),
                "quantiles": dict(zip(map(str, QUANTILES), np.quantile(values, QUANTILES).tolist(), strict=True)),
                "share_beyond_chance": float((np.abs(values) > null_quantile(dimension, 0.975)).mean()),
                "histogram": histogram.tolist(),
                "edges": [float(edges[0]), float(edges[-1])],
            }
        )
    return rows


def _interval(
    values: Floats, left: NDArray[np.intp], right: NDArray[np.intp], counts: Floats
) -> tuple[float | None, float | None]:
    n = counts.shape[1]
    if n < 2:
        return None, None
    total, size = (np.zeros((n, n)) for _ in range(2))
    np.add.at(total, (left, right), values)
    np.add.at(size, (left, right), 1)
    if (left == right).all():
        above, below = counts @ np.diag(total), counts @ np.diag(size)
    else:
        above, below = (np.einsum("dp,pq,dq->d", counts, one, counts, optimize=True) for one in (total, size))
    low, high = np.quantile(above[below > 0] / below[below > 0], [0.025, 0.975])
    return float(low), float(high)
