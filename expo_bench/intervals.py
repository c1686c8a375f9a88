"""Arrays in, 95% intervals out: for problems like these, and for these problems alone. docs/metrics.md has the tables.

P counts problems, M metrics, K values of k, S seeds, D draws; `n` and `c` are as in `stats`. *Problems like these* are
new ones from the same source: the problem is what was drawn at random. *These problems* are fixed: only the samples
would come out otherwise another time. NaN stands for "cannot be told".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from expo_bench import stats
from expo_bench.stats import CONFIDENCE, Bools, Floats, Ints

TAIL = (1 - CONFIDENCE) / 2
LARGEST_K_OF_N = 16
"""pass@k of these problems is given up to n / 16: above, its variance is not known well enough, above n / 2 not at
all."""
# a problem that nobody saw, half of one, which might be solved always or never
_PSEUDO = 0.5
# of the bootstrap over problems, where a single seed leaves nothing else
_DRAWS = 2000
# elements of a matrix of weights
_BLOCK = 2**22
_Z = float(ndtri(1 - TAIL))


def of_columns(
    values: Floats, weights: Floats, bounded: Bools, counts: NDArray[np.uint8], seed: int
) -> tuple[Floats, Floats]:
    """Return intervals of weighted means over problems like these: `rates` where bounded, `means` elsewhere.

    Args:
        values: one value a problem and metric, shape (P, M).
        weights: non-negative weights, shape (P, M).
        bounded: whether the metric is a rate, shape (M,).
        counts: from `stats.resample_counts`, the columns of these problems, shape (D, P).
        seed: of the draws for rates.

    Returns:
        Lower and upper ends, shape (M,) each; NaN with fewer than two problems.
    """
    ends = np.full((2, values.shape[1]), np.nan)
    if bounded.any():
        ends[:, bounded] = rates(values[:, bounded], weights[:, bounded], len(counts), seed)
    if not bounded.all():
        ends[:, ~bounded] = means(values[:, ~bounded], weights[:, ~bounded], counts)
    return ends[0], ends[1]


def dirichlet_sums(values: Floats, weights: Floats, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Draw the Dirichlet bootstrap: sum W w v and sum W w with a W ~ Exp(1) for each problem.

    The same draws serve all metrics, so that differences of metrics may be taken draw by draw. Weights are brought to a
    mean of 1 over the problems that have any.

    Returns:
        Both sums, shape (D, M).
    """
    used = (weights > 0).sum(axis=0)
    weights = weights * (used / np.maximum(weights.sum(axis=0), np.finfo(float).tiny))
    # most metrics share their weights; np.unique sorts the columns, which takes longer than all the rest
    places: dict[bytes, int] = {}
    column = [places.setdefault(one.tobytes(), len(places)) for one in weights.T]
    distinct = weights[:, [column.index(place) for place in range(len(places))]]
    # single precision: its error, about 1e-6 of a mean, is far below the noise of the draws
    columns = np.concatenate([weights * values, distinct], axis=1).astype(np.float32)
    sums = np.empty((draws, columns.shape[1]))
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(1, len(values)))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        sums[start : start + rows] = rng.standard_exponential((rows, len(values)), dtype=np.float32) @ columns
    return sums[:, : values.shape[1]], sums[:, values.shape[1] :][:, column]


def rates(values: Floats, weights: Floats, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Return intervals of weighted mean rates: the Dirichlet bootstrap with half a pseudo-problem.

    With W ~ Exp(1) for each problem and G ~ Gamma(1/2), the ends are the 2.5% quantile of sum W v / (sum W + G) and the
    97.5% quantile of (sum W v + G) / (sum W + G). With G ~ Gamma(1) it is the interval of Learned-Miller and Thomas
    (2019, arXiv 1905.06208), Clopper and Pearson's where every v is 0 or 1; half of that makes it nearly Jeffreys'. It
    has a width where all values agree, and needs no rule of its own there.

    Args:
        values: between 0 and 1, shape (P, M).
        weights: non-negative, shape (P, M).
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        Lower and upper ends, shape (M,) each; NaN with fewer than two problems.
    """
    above, below = dirichlet_sums(values, weights, draws, seed)
    return rate_ends(values, weights, above, below, seed)


def rate_ends(values: Floats, weights: Floats, above: Floats, below: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return the ends of `rates` from sums that `dirichlet_sums` has drawn with this seed."""
    extra = np.random.default_rng([seed, 1]).standard_gamma(_PSEUDO, size=(len(above), 1))
    # quantiles of rows that lie together take half the time
    drawn = ((above / (below + extra), TAIL), ((above + extra) / (below + extra), 1 - TAIL))
    ends = [np.quantile(np.ascontiguousarray(rates.T), share, axis=1) for rates, share in drawn]
    mean, _ = stats.clustered_mean(values, weights)
    low, high = np.clip(np.minimum(ends[0], mean), 0, 1), np.clip(np.maximum(ends[1], mean), 0, 1)
    told = (weights > 0).sum(axis=0) > 1
    return np.where(told, low, np.nan), np.where(told, high, np.nan)


def means(values: Floats, weights: Floats, counts: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Return intervals of weighted means that have no bounds and may be skewed: the bootstrap-t over problems.

    Each resample gives t* = (mean* - mean) / error*, the error that of `stats.clustered_mean`; the ends are
    mean - error q, q the 97.5% and 2.5% quantile of t* (Efron 1979; Hall 1988), and at least as far out as Student's
    with P - 1 degrees of freedom.

    Args:
        values: shape (P, M).
        weights: non-negative, shape (P, M).
        counts: from `stats.resample_counts`, the columns of these problems, shape (D, P).

    Returns:
        Lower and upper ends, shape (M,) each; NaN with fewer than two problems and where all values agree.
    """
    mean, error = stats.clustered_mean(values, weights)
    ends = np.full((2, values.shape[1]), np.nan)
    for metric in range(values.shape[1]):
        used = weights[:, metric] > 0
        if used.sum() < 2 or np.ptp(values[used, metric]) == 0:
            continue
        drawn = _studentised(values[used, metric] - mean[metric], weights[used, metric], counts[:, used])
        student = float(stdtrit(used.sum() - 1, 1 - TAIL))
        low, high = np.quantile(drawn, [TAIL, 1 - TAIL]) if len(drawn) else (-student, student)
        ends[:, metric] = mean[metric] - error[metric] * np.array([max(high, student), min(low, -student)])
    return ends[0], ends[1]


def _studentised(values: Floats, weights: Floats, counts: NDArray[np.uint8]) -> Floats:
    # values around their mean, shape (P,)
    columns = np.stack(
        [weights, weights * values, weights**2, weights**2 * values, (weights * values) ** 2, weights > 0]
    )
    total, first, square, cross, spread, problems = (counts.astype(np.float32) @ columns.T.astype(np.float32)).T
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / total
        variance = (spread - 2 * mean * cross + mean**2 * square) * problems / (problems - 1) / total**2
        t = mean / np.sqrt(variance)
    # a resample of one problem alone, or of equal values, tells no error
    enough = variance > 1e-5 * np.median(variance[np.isfinite(variance)]) if np.isfinite(variance).any() else False
    return np.asarray(t[enough & np.isfinite(t)], dtype=np.float64)


def differences(values: Floats) -> tuple[Floats, Floats]:
    """Return intervals of mean paired differences over problems like these: Student's t with half a pseudo-problem.

    Half a problem at each of +-u is added: with N = P + 1, m = sum d / N, s^2 = (sum d^2 + u^2) / N - m^2 the interval
    is m +- t(0.975, P - 1) s / sqrt(N). u^2 = max(max d^2, 1 / (2 (1 + e))), e = (sum d^2)^2 / sum d^4 the number of
    problems that carry the spread: where few do, others that were not drawn may differ more than any that were.

    Where all differences are one value v it is v q +- (1 - q) with q = 0.025^(1/P): at least a share q of all problems
    has that difference, and the others one between -1 and 1.

    Args:
        values: differences of rates, between -1 and 1, shape (P, M).

    Returns:
        Lower and upper ends, shape (M,) each, between -1 and 1; NaN with fewer than two problems.
    """
    problems, columns = values.shape
    if problems < 2:
        return np.full(columns, np.nan), np.full(columns, np.nan)
    mean = values.mean(axis=0)
    square, fourth = (values**2).sum(axis=0), (values**4).sum(axis=0)
    carrying = np.divide(square**2, fourth, out=np.ones(columns), where=fourth > 0)
    unseen = np.maximum((values**2).max(axis=0), 0.5 / (1 + carrying))
    centre = values.sum(axis=0) / (problems + 1)
    variance = (square + unseen) / (problems + 1) - centre**2
    reach = stdtrit(problems - 1, 1 - TAIL) * np.sqrt(np.maximum(variance, 0) / (problems + 1))
    alike = np.ptp(values, axis=0) <= 1e-12
    same = TAIL ** (1 / problems)
    centre, reach = np.where(alike, mean * same, centre), np.where(alike, 1 - same, reach)
    return (
        np.clip(np.minimum(centre - reach, mean), -1, 1),
        np.clip(np.maximum(centre + reach, mean), -1, 1),
    )


def crossed(values: Floats, least: float = 0.0) -> tuple[float, float]:
    """Return the interval of a mean over seeds and problems, both drawn at random: a crossed analysis of variance.

    The mean varies with the problems, (MS_problem - MS_rest) / (S P), and with the seeds, MS_seed / (S P); each part
    has Student's t of its own, and the two reaches are added in squares (Banerjee 1960). What the problems alone say,
    MS_problem / (S P), is the least. Satterthwaite's degrees of freedom for both together are too many with two or
    three seeds. One seed tells nothing of others: the interval is then `rates`' or `differences`'. Where all values
    agree the rule of `differences` for P problems serves, as if the seeds told nothing more.

    Args:
        values: rates or differences of rates, shape (S, P).
        least: the least that a value can be: 0 of rates, -1 of differences; the most is 1.

    Returns:
        Lower and upper end; NaN with fewer than two problems.
    """
    seeds, problems = values.shape
    if problems < 2:
        return np.nan, np.nan
    if np.ptp(values) <= 1e-9:
        alike = TAIL ** (1 / problems)
        low, high = (float(values.mean()) * alike + (1 - alike) * end for end in (least, 1.0))
        return max(least, low), min(1.0, high)
    if seeds < 2:
        column = values.T
        found = rates(column, np.ones_like(column), _DRAWS, 0) if least == 0 else differences(column)
        return float(found[0][0]), float(found[1][0])
    mean = values.mean()
    by_seed, by_problem = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_seed[:, np.newaxis] - by_problem + mean
    of_problem, of_seed = seeds * by_problem.var(ddof=1), problems * by_seed.var(ddof=1)
    left = (rest**2).sum() / ((seeds - 1) * (problems - 1))
    of_problems, of_seeds = (float(stdtrit(size - 1, 1 - TAIL)) ** 2 for size in (problems, seeds))
    square = max(of_problems * max(of_problem, left), of_problems * (of_problem - left) + of_seeds * of_seed)
    reach = float(np.sqrt(square / (seeds * problems)))
    return max(least, float(mean - reach)), min(1.0, float(mean + reach))


def sampling_variance(n: Ints, c: Ints, k: int) -> Floats:
    """Estimate without bias how much pass@k of one problem varies with its samples alone; 2k <= n.

    Var = (C(n-c, k) / C(n, k))^2 - C(n-c, 2k) / C(n, 2k), which is c (n-c) / (n^2 (n-1)) for k = 1: the square of what
    was found, less what two sets of k that share no sample both miss.

    Returns:
        Variances, shape (P,); an estimate may be below 0.
    """
    miss = 1 - stats.pass_at_k_curve(n, c, [k, 2 * k])
    return np.asarray(miss[:, 0] ** 2 - miss[:, 1])


def these_problems(n: Ints, c: Ints, ks: Sequence[int], weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Return intervals of pass@k on these problems: what other samples of the same problems would give.

    Wilson's interval (1927) with as many trials as the sampling variance says: m (1-m) / se^2, se^2 from
    `sampling_variance`, and no fewer than the sets of k samples that share none, since problems of unlike difficulty
    only make the mean steadier. For k = 1 that serves one sample a problem, too.

    Args:
        n: samples of each problem, shape (P,).
        c: right ones, shape (P,).
        ks: values of k.
        weights: of the problems, shape (P,); equal where None.

    Returns:
        Lower and upper ends, shape (K,); NaN for k > 1 above n / 16, n the smallest number of samples, and without
        problems.
    """
    ends = np.full((2, len(ks)), np.nan)
    if not len(n):
        return ends[0], ends[1]
    share = np.full(len(n), 1 / len(n)) if weights is None else weights / weights.sum()
    for place, k in enumerate(ks):
        if not _told_here(int(n.min()), k):
            continue
        value = float(share @ stats.pass_at_k(n, c, k))
        # a problem with one sample has no variance of its own to show
        variance = float(share**2 @ sampling_variance(n, c, k)) if 2 * k <= n.min() else 0.0
        apart = 1 / float(share**2 @ (1 / (n // k)))
        trials = max(apart, value * (1 - value) / variance) if variance > 0 else apart
        ends[:, place] = wilson(value, trials)
    return ends[0], ends[1]


def _told_here(n: int, k: int) -> bool:
    return k == 1 or LARGEST_K_OF_N * k <= n


def why_untold(n: int, k: int) -> str | None:
    """Return why `these_problems` says nothing of this k, or None where it does."""
    return None if _told_here(n, k) else f"k is above n/{LARGEST_K_OF_N}"


def wilson(rate: float, trials: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate in so many trials, which need not be whole."""
    square = _Z**2 / trials
    centre = (rate + square / 2) / (1 + square)
    reach = _Z * np.sqrt(rate * (1 - rate) / trials + square / (4 * trials)) / (1 + square)
    return float(max(0.0, centre - reach)), float(min(1.0, centre + reach))


def newcombe(first: tuple[Floats, Floats, Floats], second: tuple[Floats, Floats, Floats]) -> tuple[Floats, Floats]:
    """Return intervals of differences of independent rates from the rates' own (Newcombe 1998, method 10).

    Args:
        first: rate, low and high, shape (K,) each.
        second: likewise.

    Returns:
        Lower and upper ends of second minus first, shape (K,) each.
    """
    (one, one_low, one_high), (other, other_low, other_high) = first, second
    change = other - one
    low = change - np.hypot(other - other_low, one_high - one)
    high = change + np.hypot(other_high - other, one - one_low)
    return low, high


def variance_split(n: Ints, c: Ints) -> tuple[float, float, float]:
    """Return what of the spread of c / n is sampling, what is difficulty, and how reliable a problem's rate is.

    within = mean c (n-c) / (n (n-1)), the variance of one sample of a problem; between = variance of c / n over
    problems - mean within / n; reliability = between / (between + within / n). All without bias, but for the ratio and
    that between is not let below 0 (components as in arXiv 2512.21326).

    Returns:
        Three numbers; NaN with one sample or fewer than two problems, reliability also where nothing varies.
    """
    if len(n) < 2 or n.min() < 2:
        return np.nan, np.nan, np.nan
    own = c * (n - c) / (n * (n - 1))
    noise = float((own / n).mean())
    between = max(0.0, float((c / n).var(ddof=1)) - noise)
    reliability = between / (between + noise) if between + noise > 0 else np.nan
    return float(own.mean()), between, reliability
