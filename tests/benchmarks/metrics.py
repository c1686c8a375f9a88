"""Time and memory of the metrics on made-up arrays: 5,000 problems x 256 samples, 13 subsets, 10,000 draws.

The yardstick computes a quarter of them, pass@k for the same k and subsets: the estimator as it was published (Chen et
al., arXiv 2107.03374, figure 3), problem by problem in numpy, and `scipy.stats.bootstrap` over problems, percentile
intervals from as many draws.
"""

import time
import tracemalloc

import numpy as np
from scipy.stats import bootstrap

from expo_bench.evaluation.metrics import summarise
from expo_bench.evaluation.problem_table import ProblemTable
from expo_bench.rows import Metric
from tests.benchmarks.figures import Figure, against, ratios

PROBLEMS, SAMPLES, DRAWS, ROUNDS = 5000, 256, 10_000, 3
KS = [2**power for power in range(9)]


def table(samples: int, answers: int = 64) -> ProblemTable:
    """Make problems of mixed difficulty; a wrong sample gives one of about `answers` answers, a tenth give none."""
    rng = np.random.default_rng(0)
    rate = rng.beta(0.5, 0.7, size=(PROBLEMS, 1))
    answered = rng.random((PROBLEMS, samples)) < 0.9
    correct = answered & (rng.random((PROBLEMS, samples)) < rate)
    wrong = 1 + np.minimum(rng.geometric(3 / answers, size=(PROBLEMS, samples)), samples - 2)
    classes = np.where(answered, np.where(correct, 0, wrong), -1).astype(np.int32)
    graded = answered.sum(axis=1)
    tokens = rng.integers(100, 500, size=PROBLEMS) * float(samples)
    groups = {"all": np.ones(PROBLEMS, dtype=bool)}
    for field, size in (("level", 5), ("subject", 7)):
        member = rng.integers(size, size=PROBLEMS)
        groups |= {f"{field}={value}": member == value for value in range(size)}
    return ProblemTable(
        subsets={name: np.flatnonzero(members) for name, members in groups.items()},
        status=np.stack([graded, samples - graded] + [np.zeros(PROBLEMS, dtype=int)] * 4, axis=1),
        classes=classes,
        correct=correct,
        cut=(samples - graded).astype(float),
        counted=np.full(PROBLEMS, float(samples)),
        tokens=tokens,
        scored_tokens=tokens,
        logprob=-rng.random(PROBLEMS) * tokens,
    )


def peak_beyond(arrays: ProblemTable) -> int:
    """Return the bytes that `summarise` takes at its peak, beyond the arrays it is given."""
    tracemalloc.start()
    summarise(arrays, grader="synthetic", ks=[1, 8], draws=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def plain(arrays: ProblemTable) -> dict[tuple[str, str], float]:
    """Return pass@k by its name and subset, after its intervals were computed as well."""
    right = arrays.correct.sum(axis=1)
    found = {}
    for k in KS:
        rates = np.array([published(SAMPLES, int(c), k) for c in right])
        for subset, rows in arrays.subsets.items():
            chosen = rates[rows]
            # at k = n a subset may be solved throughout, and has no distribution
            if chosen.std() > 0:
                bootstrap(
                    (chosen,), np.mean, n_resamples=DRAWS, method="percentile", batch=500, rng=np.random.default_rng(0)
                )
            found[f"pass@{k}", subset] = float(chosen.mean())
    return found


def published(n: int, c: int, k: int) -> float:
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def measure() -> list[Figure]:
    arrays = table(SAMPLES)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        metrics = summarise(arrays, grader="synthetic", draws=DRAWS)
        middle = time.perf_counter()
        expected = plain(arrays)
        ours.append(middle - began)
        theirs.append(time.perf_counter() - middle)
    same = check(metrics, expected)
    few, many = peak_beyond(table(64)), peak_beyond(arrays)
    return [
        Figure(
            what=f"time of {len(metrics)} metrics, 5,000 problems x 256 samples",
            yardstick=f"published pass@k in numpy, scipy.stats.bootstrap: {same} of them",
            ratios=ratios(ours, theirs),
            absolute=against(ours, theirs, "s", 1),
            goal="at most 5 s",
        ),
        Figure(
            what="peak memory of the metrics beyond their arrays, 256 samples a problem",
            yardstick="the same at 64 samples",
            ratios=[many / few],
            absolute=f"{many / 2**20:.0f} against {few / 2**20:.0f} MiB",
        ),
    ]


def check(metrics: list[Metric], expected: dict[tuple[str, str], float]) -> int:
    """See that both sides computed the same pass@k; return how many."""
    found = {(metric.name, metric.subset): metric.value for metric in metrics}
    for key, value in expected.items():
        mine = found[key]
        assert mine is not None and abs(mine - value) < 1e-9, key
    return len(expected)
