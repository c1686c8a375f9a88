"""Do intervals and verdicts hold what they promise? `python -m analysis.coverage [TABLE...] [--times N]`.

Simulates problems whose success rates follow laws that are known, and prints how often the 95% intervals hold the
truth, how often verdicts claim what is not there, and how often they see what is: the tables of docs/metrics.md and
docs/sharpening.md. Minutes on one core; `--times` is the number of simulated data sets of a cell.
"""

import argparse
from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from expo_bench import beyond, confirmation, exchange, intervals, sequential, stats

Floats = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def _mixed(rng: np.random.Generator, shape: tuple[int, ...], zeros: float, ones: float, rest: Floats) -> Floats:
    where = rng.random(shape)
    return np.where(where < zeros, 0.0, np.where(where < zeros + ones, 1.0, rest))


LAWS: dict[str, Law] = {
    "Beta(0.2, 0.2)": lambda rng, shape: rng.beta(0.2, 0.2, shape),
    "Beta(0.5, 1)": lambda rng, shape: rng.beta(0.5, 1.0, shape),
    "40% never, 30% always": lambda rng, shape: _mixed(rng, shape, 0.4, 0.3, rng.random(shape)),
    "hard: 80% never": lambda rng, shape: _mixed(rng, shape, 0.8, 0.0, rng.beta(0.5, 2.0, shape)),
    "easy: 85% always": lambda rng, shape: _mixed(rng, shape, 0.0, 0.85, rng.beta(5.0, 1.0, shape)),
    "hard tail": lambda rng, shape: _tail(rng, shape),
}
"""Name -> success rates of problems."""
SIZES = (15, 30, 43, 100, 500)
SEEDS = (2, 3, 5, 10)


def _tail(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    rare = np.exp(rng.uniform(np.log(0.001), np.log(0.05), shape))
    where = rng.random(shape)
    return np.where(where < 0.3, 0.0, np.where(where < 0.7, rare, rng.random(shape)))


def _raised(p: Floats, by: float) -> Floats:
    """Return rates whose logits are raised; what is never solved stays so."""
    odds = p / np.maximum(1 - p, 1e-12) * np.exp(by)
    return np.where(p >= 1, 1.0, odds / (1 + odds))


def _held(found: tuple[Floats, Floats], truth: Floats | float) -> float:
    low, high = found
    return float(np.mean((low <= truth) & (truth <= high)))


def rates(times: int) -> list[str]:
    """Coverage of pass@k for problems like these, for true rates of 10 to 90% and for those nearer to 0 and 100%."""
    rng = np.random.default_rng(0)
    middle: dict[int, list[float]] = {}
    ends: dict[int, list[float]] = {}
    for size in SIZES:
        for law in LAWS.values():
            for n in (1, 4, 16, 64):
                for k in sorted({1, max(1, n // 2), n}):
                    truth = float((1 - (1 - law(rng, (400_000,))) ** k).mean())
                    if not 0.01 < truth < 0.99:
                        continue
                    right = rng.binomial(n, law(rng, (size, times)))
                    values = stats.pass_at_k(np.full(right.size, n), right.ravel(), k).reshape(right.shape)
                    cells = middle if 0.1 <= truth <= 0.9 else ends
                    cells.setdefault(size, []).append(_held_of_rates(values, truth))
    return _row("true rates of 10 to 90%", middle) + _row("1 to 10%, 90 to 99%", ends)


def _held_of_rates(values: Floats, truth: float) -> float:
    # other draws every so often: those of one bootstrap are off to one side for all data sets
    blocks = np.split(values, range(100, values.shape[1], 100), axis=1)
    found = [intervals.rates(one, np.ones_like(one), 1000, 100 * seed) for seed, one in enumerate(blocks)]
    return _held((np.concatenate([low for low, _ in found]), np.concatenate([high for _, high in found])), truth)


def exact(times: int) -> list[str]:
    """Coverage of pass@1 with one sample, without chance: the interval of c solved of P has a closed form.

    The sums of its bootstrap are Gamma, so its ends are quantiles of Beta(c, P - c + 1/2) and Beta(c + 1/2, P - c). A
    share of P problems has steps, and so has the coverage, which no interval of this width can avoid.
    """
    lines = [
        "",
        "| 0 or 1 a problem | mean, rates of 10 to 90% | least, at | least of 1 to 99%, at |",
        "|---" * 4 + "|",
    ]
    p = np.linspace(0.01, 0.99, 1961)
    middle = (p >= 0.1) & (p <= 0.9)
    for size in SIZES:
        c = np.arange(size + 1)
        low = np.where(c > 0, beta.ppf(0.025, np.maximum(c, 1e-9), size - c + 0.5), 0)[:, np.newaxis]
        high = np.where(c < size, beta.ppf(0.975, c + 0.5, np.maximum(size - c, 1e-9)), 1)[:, np.newaxis]
        held = (binom.pmf(c[:, np.newaxis], size, p) * ((low <= p) & (p <= high))).sum(axis=0)
        least = [f"{held[where].min():.3f}, {p[where][held[where].argmin()]:.3f}" for where in (middle, p > 0)]
        lines.append(f"| P = {size} | {held[middle].mean():.3f} | {' | '.join(least)} |")
    return lines


def same(times: int) -> list[str]:
    """Coverage of pass@k on these problems."""
    rng = np.random.default_rng(1)
    lines = []
    for n, k in ((1, 1), (4, 1), (16, 1), (64, 1), (64, 4)):
        found: dict[int, list[float]] = {}
        for size in (30, 100, 500):
            for law in list(LAWS.values())[:5]:
                held = []
                for _ in range(times):
                    p = law(rng, (size,))
                    ends = intervals.these_problems(np.full(size, n), rng.binomial(n, p), [k])
                    held.append(_held(ends, float((1 - (1 - p) ** k).mean())))
                found.setdefault(size, []).append(float(np.mean(held)))
        lines += _row(f"pass@{k} of n = {n}, these problems", found)
    return lines


def differences(times: int) -> list[str]:
    """Coverage of differences of pass@k for problems like these, two effects: logits + 0.7, and (p + p^2) / 2."""
    rng = np.random.default_rng(2)
    found: dict[str, dict[int, list[float]]] = {}
    for size in SIZES:
        for n, k in ((1, 1), (4, 2), (16, 1), (16, 8), (16, 16), (64, 1), (64, 32)):
            table = stats.pass_at_k(np.full(n + 1, n), np.arange(n + 1), k)
            label = "n = 1" if n == 1 else f"k = {'1' if k == 1 else 'n' if k == n else 'n/2'}"
            for law in LAWS.values():
                for change in (lambda p: _raised(p, 0.7), lambda p: (p + p**2) / 2):
                    many = law(rng, (100_000,))
                    truth = float(((1 - many) ** k - (1 - change(many)) ** k).mean())
                    if abs(truth) < 0.005:
                        continue
                    p = law(rng, (size, times))
                    base, trained = (table[rng.binomial(n, one)] for one in (p, change(p)))
                    held = _held(intervals.differences(trained - base), truth)
                    found.setdefault(label, {}).setdefault(size, []).append(held)
    return [line for label, cells in found.items() for line in _row(f"difference of pass@k, {label}", cells)]


def differences_here(times: int) -> list[str]:
    """Coverage of differences of pass@1 on these problems: logits + 0.7."""
    rng = np.random.default_rng(9)
    found: dict[int, list[float]] = {}
    for size in SIZES:
        for law in LAWS.values():
            p = law(rng, (size, times))
            right = [rng.binomial(16, one) for one in (p, _raised(p, 0.7))]
            found.setdefault(size, []).append(_difference_here(16, p, right))
    return _row("difference of pass@1, n = 16, these problems", found)


def _difference_here(n: int, p: Floats, right: list[NDArray[np.int64]]) -> float:
    held = []
    size = np.full(len(p), n)
    for at in range(p.shape[1]):
        sides = [((c[:, at] / n).mean(keepdims=True), *intervals.these_problems(size, c[:, at], [1])) for c in right]
        low, high = intervals.newcombe(*sides)
        held.append(_held((low, high), float((_raised(p[:, at], 0.7) - p[:, at]).mean())))
    return float(np.mean(held))


def means(times: int) -> list[str]:
    """Coverage of unbounded means: symmetric, skewed as log-probabilities are, with weights that go with the value."""
    rng = np.random.default_rng(3)
    lines = []
    for name in ("normal", "lognormal, sigma 1", "lognormal, sigma 1.5", "weights that go with the value"):
        found: dict[int, list[float]] = {}
        for size in (15, 40, 100, 500):
            counts = stats.resample_counts(size, 1000, 0)
            weights = np.ones((size, times))
            if name.startswith("weights"):
                p = rng.beta(0.5, 1.0, (size, times))
                values, weights, truth = p + rng.normal(0, 0.3, p.shape), rng.binomial(8, p) * 1.0, 0.6
            elif name == "normal":
                values, truth = rng.normal(size=(size, times)), 0.0
            else:
                sigma = float(name.split()[-1])
                values, truth = rng.lognormal(0, sigma, (size, times)), float(np.exp(sigma**2 / 2))
            found[size] = [_held(intervals.means(values, weights, counts), truth)]
        lines += _row(f"mean, {name}", found)
    return lines


def seeds(times: int) -> list[str]:
    """Coverage of a difference over seeds and 100 problems, and its mean width in points: seeds differ by so much."""
    rng = np.random.default_rng(4)
    lines = ["", "| seeds differ by | " + " | ".join(f"{number} seeds" for number in SEEDS) + " |", "|---" * 5 + "|"]
    for apart in (0.0, 0.005, 0.01, 0.02, 0.05):
        cells = []
        for number in SEEDS:
            ends = []
            for _ in range(4 * times):
                values = rng.normal(0, 0.06, (1, 100)) + rng.normal(0, apart, (number, 1))
                ends.append(intervals.crossed(values + rng.normal(0, 0.04, (number, 100)), -1.0))
            low, high = np.array(ends).T
            cells.append(f"{_held((low, high), 0):.3f}, {100 * np.mean(high - low):.1f}")
        lines.append(f"| {100 * apart:g} points | {' | '.join(cells)} |")
    return lines


def _claims(n: int, p: Floats, q: Floats, rng: np.random.Generator) -> tuple[dict[str, float], float]:
    """Return the p values of a pair's four claims, and that of "new" by counting alone."""
    size = np.full(len(p), n)
    wrong = rng.dirichlet(np.ones(4), size=len(p))
    samples = [rng.binomial(n, one) for one in (p, q)]
    agree = []
    for right in samples:
        votes = np.column_stack([right, rng.multinomial(n - right, wrong)])
        agree.append((votes * (votes - 1)).sum(axis=1) / (n * (n - 1)))
    base, trained = samples
    flips = np.stack([(trained - base) / n, agree[1] - agree[0]], axis=1)
    pass_1, agreement = exchange.sign_flip_p(flips, 1000, int(rng.integers(2**31)))
    only = {"new": (base == 0) & (trained > 0), "lost": (base > 0) & (trained == 0)}
    chances = exchange.swap_chance(size, base + trained)
    count = {name: exchange.chance_of_at_least(int(one.sum()), chances) for name, one in only.items()}
    if n >= exchange.WEIGHTED_FROM:
        decide = {name: exchange.weighted_p(one, size, base + trained) for name, one in only.items()}
    else:
        decide = count
    return {**decide, "pass_1": float(pass_1), "agreement": float(agreement)}, count["new"]


def false_claims(times: int) -> list[str]:
    """Share of pairs of draws from one policy with any claim: at 5% a test (before), and by Holm over the family.

    Given how many samples of a problem are right, how they fall to the two models is uniform, so that every test and
    Holm's families hold their level whatever the law: what a cell shows above 5% is the noise of the simulation. The
    last line says how surely: the chance of so many claims, or more, at 5%.
    """
    lines = [
        "",
        "| trained == base | P | n | any claim at 5% a test | any claim, Holm | one of 5 arms, Holm |",
        "|---" * 6 + "|",
    ]
    rng = np.random.default_rng(5)
    found_held: list[bool] = []
    found_arms: list[bool] = []
    for name, law in LAWS.items():
        for size, n in ((30, 64), (100, 16), (100, 64), (500, 64)):
            raw, held, arms = [], [], []
            for _ in range(times):
                p = law(rng, (size,))
                found = [_claims(n, p, p, rng)[0] for _ in range(5)]
                raw += [min(one.values()) <= 0.05 for one in found]
                held += [min(exchange.holm(one).values()) <= 0.05 for one in found]
                family = {(arm, claim): one for arm, ps in enumerate(found) for claim, one in ps.items()}
                arms.append(min(exchange.holm(family).values()) <= 0.05)
            lines.append(f"| {name} | {size} | {n} | {np.mean(raw):.3f} | {np.mean(held):.3f} | {np.mean(arms):.3f} |")
            found_held += held
            found_arms += arms
    sure = [f"{np.mean(one):.3f} of {len(one)}, {binom.sf(sum(one) - 1, len(one), 0.05):.2g}" for one in
            (found_held, found_arms)]  # fmt: skip
    return [*lines, f"| all cells; chance of so many at 5% | | | | {sure[0]} | {sure[1]} |"]


def other_false_claims(times: int) -> list[str]:
    """Share of false claims of the other verdicts, a family each.

    Of three peers of one policy any is better, for these problems and for problems like these; two of them are decided
    within 20 rounds of 16 samples; an amplified model's problems are confirmed as new although the base solves each at
    1/256 or more; a method of three seeds that changes nothing on average, but each seed a little, changes pass@1.
    """
    head = "| law | P | three peers: these | like these | until decided | confirmed | method |"
    lines = ["", head, "|---" * 7 + "|"]
    rng = np.random.default_rng(8)
    n = 64
    for (name, law), size in product(LAWS.items(), (30, 100, 500)):
        claimed = np.zeros(5)
        for _ in range(times):
            p = law(rng, (size,))
            c = rng.binomial(n, p, (3, size))
            pairs = [(c[one], c[other]) for one, other in ((0, 1), (0, 2), (1, 2))]
            here = {at: exchange.same_problems_p(np.full(size, n), *pair) for at, pair in enumerate(pairs)}
            apart = np.stack([(two - one) / n for one, two in pairs], axis=1)
            like = dict(enumerate(exchange.sign_flip_p(apart, 1000, int(rng.integers(2**31))).tolist()))
            alike = [min(exchange.holm(ps).values()) <= 0.05 for ps in (here, like)]
            claimed += [*alike, _decided(rng, p), _confirmed(rng, np.maximum(p, 1 / 256)), _changed(rng, p)]
        lines.append(f"| {name} | {size} | " + " | ".join(f"{share:.3f}" for share in claimed / times) + " |")
    return lines


def _decided(rng: np.random.Generator, p: Floats) -> bool:
    # of a pair of samples one alone is right, the other's or this one's
    discordant = rng.binomial(16, 2 * p * (1 - p), (20, len(p)))
    up = np.cumsum(rng.binomial(discordant, 0.5).sum(axis=1))
    down = np.cumsum(discordant.sum(axis=1)) - up
    return any(sequential.evidence(int(a), int(b)) >= sequential.DECIDED for a, b in zip(up, down, strict=True))


def _confirmed(rng: np.random.Generator, p: Floats) -> bool:
    base, trained = rng.binomial(64, p), rng.binomial(64, _raised(p, 1.0))
    new = (base == 0) & (trained > 0)
    unsolved = int((rng.binomial(confirmation.SAMPLES, p[new]) == 0).sum())
    return confirmation.confirm(int(new.sum()), unsolved, confirmation.SAMPLES, confirmation.RATE)["answer"] == "new"


def _changed(rng: np.random.Generator, p: Floats) -> bool:
    base, moved = rng.binomial(64, p), rng.normal(0, 0.02, (3, 1)) * np.sqrt(p * (1 - p))
    changes = (rng.binomial(64, np.clip(p + moved, 0, 1)) - base) / 64
    low, high = intervals.crossed(changes, -1.0)
    return not low <= 0 <= high


def power(times: int) -> list[str]:
    """Share of pairs that are called new where a tenth of the never solved problems rises to a rate of 0.05."""
    lines = ["", "| half never, rest Beta(0.4, 0.8) | n | counting at 5% (before) | weighted, Holm |", "|---" * 4 + "|"]
    rng = np.random.default_rng(6)
    for size in (30, 100, 200, 500):
        for n in (16, 64, 128, 256):
            counted, weighed = [], []
            for _ in range(times):
                p = np.where(np.arange(size) < size // 2, 0.0, rng.beta(0.4, 0.8, size))
                q = np.where(np.arange(size) < round(0.1 * size / 2), 0.05, p)
                found, count = _claims(n, p, q, rng)
                counted.append(count <= 0.05)
                weighed.append(exchange.holm(found)["new"] <= 0.05)
            lines.append(f"| P = {size} | {n} | {np.mean(counted):.2f} | {np.mean(weighed):.2f} |")
    return lines


def which_test(times: int) -> list[str]:
    """Share of pairs called new by the count and by the weighted test, n = 64, at the level a family of four asks.

    One policy; logits raised by 1 or 2, what is never solved stays so; a tenth of the problems solved at less than
    1/256 raised to 0.05; one in fifty of them raised to 0.5.
    """
    truths = ("one policy", "logits + 1", "logits + 2", "10% to 0.05", "2% to 0.5")
    lines = ["", f"| count / weighted | P | {' | '.join(truths)} |", "|---" * 7 + "|"]
    rng = np.random.default_rng(11)
    n, level = 64, 0.05 / 4
    for size, pairs in ((100, times), (500, 2 * times // 3)):
        for name, law in LAWS.items():
            shares = []
            for truth in truths:
                called = np.zeros(2)
                for _ in range(pairs):
                    p = law(rng, (size,))
                    q = _trained(truth, p, rng)
                    base, trained = rng.binomial(n, p), rng.binomial(n, q)
                    only, every = (base == 0) & (trained > 0), np.full(size, n)
                    chances = exchange.swap_chance(every, base + trained)
                    count = exchange.chance_of_at_least(int(only.sum()), chances)
                    called += np.array([count, exchange.weighted_p(only, every, base + trained)]) <= level
                shares.append(" / ".join(f"{share:.2f}" for share in called / pairs))
            lines.append(f"| {name} | {size} | {' | '.join(shares)} |")
    return lines


def _trained(truth: str, p: Floats, rng: np.random.Generator) -> Floats:
    if truth.startswith("logits"):
        return _raised(p, float(truth[-1]))
    if truth == "one policy":
        return p
    share, to = (0.1, 0.05) if truth == "10% to 0.05" else (0.02, 0.5)
    return np.where((p < 1 / 256) & (rng.random(len(p)) < share), to, p)


def farther(times: int) -> list[str]:
    """Coverage and width of pass@k beyond n = 64, for 2n and 4n; and the error of the parametric forecast."""
    lines = ["", "| law | P | held at 128, 256 | width | forecast is off by |", "|---" * 5 + "|"]
    rng = np.random.default_rng(7)
    for name, law in list(LAWS.items())[1:4]:
        for size in (30, 100, 500):
            held, width, off = [], [], []
            truth = np.array([(1 - (1 - law(rng, (200_000,))) ** k).mean() for k in (128, 256)])
            for _ in range(max(10, times // 8)):
                found = beyond(np.full(size, 64), rng.binomial(64, law(rng, (size,))), [128, 256])
                held.append((found.low <= truth) & (truth <= found.high))
                width.append(found.high - found.low)
                off.append(found.forecast - truth)
            numbers = (np.mean(held, axis=0), np.mean(width, axis=0), np.mean(off, axis=0))
            lines.append(
                f"| {name} | {size} | " + " | ".join(", ".join(f"{x:.2f}" for x in one) for one in numbers) + " |"
            )
    return lines


def _row(label: str, found: dict[int, list[float]]) -> list[str]:
    head = ["", f"| | {' | '.join(map(str, found))} |", "|---" * (len(found) + 1) + "|"]
    return [*head, f"| {label} | {' | '.join(f'{np.mean(one):.3f} ({min(one):.2f})' for one in found.values())} |"]


TABLES = {
    "rates": rates, "exact": exact, "same": same, "differences": differences, "differences_here": differences_here,
    "means": means, "seeds": seeds, "false_claims": false_claims, "other_false_claims": other_false_claims,
    "power": power, "which_test": which_test, "beyond": farther,
}  # fmt: skip


def main() -> None:
    """Print the tables that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--times", type=int, default=200, help="simulated data sets of a cell [200]")
    given = parser.parse_args()
    if unknown := set(given.tables) - set(TABLES):
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    for name in given.tables or TABLES:
        print("\n".join(TABLES[name](given.times)), flush=True)


if __name__ == "__main__":
    main()
