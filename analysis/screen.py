"""Will RL work here? `python -m analysis.screen RUN [RUN ...]`, before anything is trained.

RUN is a folder of `expo-bench candidates` that `expo-bench likelihood` has scored, or a study that has one. Writes
screen.md and screen.json: by level, how often the policy solves a problem, whether a group of its rollouts has both
right and wrong ones, whether its self-explanations reach the answer, and both properties of each kind of chain. Where
studies are given, the last checkpoints of their arms say what training gained, and the page has the rank correlation
of each screen with each gain over the studies.
"""

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from scipy.stats import rankdata

from expo_bench import Candidate, Likelihood, Problem, RunFolder, UserError, intervals, stats

QUANTITIES = {
    "pass@1": "own samples that are right",
    "pass@n": "problems that one of the own samples solves",
    "mixed": "problems with both right and wrong own samples: those with an advantage in GRPO",
    "reached": "self-explanations that reach the answer and are not cut off",
    "signal": "problems that are mixed or have such an explanation: those that ExP-GRPO can learn from",
    "nll_right": "nats a token of the own right samples",
    "nll_wrong": "nats a token of the own wrong samples",
    "nll_explained": "nats a token of the self-explanations that reach the answer",
    "nll_missed": "nats a token of the other self-explanations",
    "nll_expert": "nats a token of the expert solutions",
    "lift_right": "answer lift, in nats, of the own right samples",
    "lift_wrong": "answer lift of the own wrong samples",
    "lift_explained": "answer lift of the self-explanations that reach the answer",
    "lift_missed": "answer lift of the other self-explanations",
    "lift_expert": "answer lift of the expert solutions",
    "bits_per_byte": "bits a byte of the expert solutions",
}
RATES = ("pass@1", "pass@n", "mixed", "reached", "signal")
DRAWS = 10_000
LEAST_BASES = 4
"""Below, a rank correlation says nothing."""

Scored = tuple[Candidate, Likelihood | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One quantity of one subset of the problems, with its 95% interval over problems."""

    quantity: str
    subset: str
    value: float
    ci_low: float | None
    """None with fewer than two problems."""
    ci_high: float | None
    n_problems: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation over bases of a screen and what an arm gained, with its 95% interval."""

    quantity: str
    arm: str
    value: float
    ci_low: float
    ci_high: float
    n_bases: int


def screen(run: RunFolder) -> list[Number]:
    """Return all quantities of the run, for all problems and by level.

    Raises:
        UserError: the run has no likelihoods.
    """
    policies = run.policies()
    if not policies:
        raise UserError(f"{run.path} has no likelihoods: give expo-bench likelihood {run.path} -m MODEL first")
    rows = {(row.problem_id, row.candidate_id): row for row in run.likelihoods(policies[0])}
    of_problem: dict[str, list[Scored]] = {}
    for one in run.candidates():
        of_problem.setdefault(one.problem_id, []).append((one, rows.get((one.problem_id, one.candidate_id))))
    problems = [problem for problem in run.problems() if problem.problem_id in of_problem]
    found = [quantities(of_problem[problem.problem_id]) for problem in problems]
    return [number for name, places in _subsets(problems) for number in _numbers(name, [found[at] for at in places])]


def quantities(scored: Sequence[Scored]) -> dict[str, float]:
    """Return what the candidates of one problem say; a quantity without a candidate is left out."""
    own = [one.source == "own_correct" for one, _ in scored if one.source in ("own_correct", "own_incorrect")]
    explained = [one for one, _ in scored if one.source == "self_explanation" and one.reaches_answer is not None]
    reached = [_reaches(one) for one in explained]
    found: dict[str, float] = {}
    if own:
        found |= {"pass@1": sum(own) / len(own), "pass@n": float(any(own)), "mixed": float(0 < sum(own) < len(own))}
    if reached:
        found["reached"] = sum(reached) / len(reached)
    if own and reached:
        found["signal"] = float(any(reached) or found["mixed"])
    kinds: dict[str, list[Likelihood]] = {}
    for one, row in scored:
        if row is not None and (kind := _kind(one)):
            kinds.setdefault(kind, []).append(row)
    for kind, likely in kinds.items():
        found[f"nll_{kind}"] = fmean(-row.mean_logprob for row in likely)
        found[f"lift_{kind}"] = fmean(row.answer_logprob_with - row.answer_logprob_without for row in likely)
    bits = [
        -row.sum_logprob / math.log(2) / len(one.text.encode())
        for one, row in scored
        if row is not None and one.source == "expert" and one.text
    ]
    return found | ({"bits_per_byte": fmean(bits)} if bits else {})


def _kind(one: Candidate) -> str | None:
    if one.source == "self_explanation":
        return None if one.reaches_answer is None else "explained" if _reaches(one) else "missed"
    return {"own_correct": "right", "own_incorrect": "wrong", "expert": "expert"}.get(one.source)


def _reaches(one: Candidate) -> bool:
    return one.reaches_answer is True and not one.truncated


def _subsets(problems: Sequence[Problem]) -> list[tuple[str, list[int]]]:
    levels = sorted({problem.level for problem in problems if problem.level is not None})
    by_level = [
        (f"level={level}", [at for at, problem in enumerate(problems) if problem.level == level]) for level in levels
    ]
    return [("all", list(range(len(problems)))), *by_level]


def _numbers(subset: str, found: Sequence[Mapping[str, float]]) -> list[Number]:
    """Means over problems, each counting once, with the intervals that the two-property table has."""
    names = [name for name in QUANTITIES if any(name in one for one in found)]
    values = np.array([[one.get(name, 0.0) for name in names] for one in found])
    weights = np.array([[float(name in one) for name in names] for one in found])
    counts = stats.resample_counts(len(found), DRAWS, 0)
    ends = intervals.of_columns(values, weights, np.isin(names, RATES), counts, 0)
    means, _ = stats.clustered_mean(values, weights)
    return [
        Number(
            quantity=name,
            subset=subset,
            value=float(means[at]),
            ci_low=_known(ends[0][at]),
            ci_high=_known(ends[1][at]),
            n_problems=int(weights[:, at].sum()),
        )
        for at, name in enumerate(names)
    ]


def _known(end: float) -> float | None:
    return None if math.isnan(end) else float(end)


def gains(study: Path) -> dict[str, float]:
    """Return by arm the pass@1 of its last checkpoint minus that of its base, all problems; empty without curves."""
    path = study / "curves.json"
    if not path.is_file():
        return {}
    points = [row for row in json.loads(path.read_text(encoding="utf-8")) if row["level"] is None]
    found: dict[str, dict[int, float]] = {}
    for row in points:
        if row["metric"] == "pass@1":
            found.setdefault(row["arm"], {})[row["step"]] = row["value"]
    return {arm: steps[max(steps)] - steps[0] for arm, steps in found.items() if len(steps) > 1 and 0 in steps}


def correlations(screens: Sequence[Sequence[Number]], gained: Sequence[Mapping[str, float]]) -> list[Correlation]:
    """Return the rank correlation of each quantity over all problems with each arm's gain, a pair a base."""
    found = []
    for arm in sorted({arm for one in gained for arm in one}):
        for name in QUANTITIES:
            pairs = [
                (number.value, gain[arm])
                for numbers, gain in zip(screens, gained, strict=True)
                for number in numbers
                if arm in gain and number.quantity == name and number.subset == "all"
            ]
            if len(pairs) >= LEAST_BASES and (one := _correlation(name, arm, np.array(pairs))):
                found.append(one)
    return found


def _correlation(quantity: str, arm: str, pairs: stats.Floats) -> Correlation | None:
    value = spearman(pairs)
    if math.isnan(value):
        return None
    places = np.random.default_rng(0).integers(0, len(pairs), (2000, len(pairs)))
    # a draw in which one side is constant has no correlation
    draws = [one for one in (spearman(pairs[at]) for at in places) if not math.isnan(one)]
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return Correlation(quantity=quantity, arm=arm, value=value, ci_low=low, ci_high=high, n_bases=len(pairs))


def spearman(pairs: stats.Floats) -> float:
    """Return Spearman's rank correlation of pairs (N, 2), ties at their mean rank; NaN where one side is constant."""
    ranks = rankdata(pairs, axis=0) - (len(pairs) + 1) / 2
    scale = math.sqrt(float((ranks[:, 0] ** 2).sum() * (ranks[:, 1] ** 2).sum()))
    return float((ranks[:, 0] * ranks[:, 1]).sum() / scale) if scale else math.nan


def page(names: Sequence[str], screens: Sequence[Sequence[Number]], found: Sequence[Correlation]) -> str:
    """Return the page in Markdown."""
    lines = ["# Will RL work here?", "", *(f"- **{name}**: {what}" for name, what in QUANTITIES.items())]
    for name, numbers in zip(names, screens, strict=True):
        subsets = list(dict.fromkeys(number.subset for number in numbers))
        lines += ["", f"## {name}", "", f"| | {' | '.join(subsets)} |", "|---" * (len(subsets) + 1) + "|"]
        cells = {(number.quantity, number.subset): _cell(number) for number in numbers}
        lines += [
            f"| {quantity} | {' | '.join(cells.get((quantity, subset), '') for subset in subsets)} |"
            for quantity in QUANTITIES
        ]
    if found:
        lines += [
            "",
            "## What the screens told of the gain in pass@1",
            "",
            "| screen | arm | rank correlation | bases |",
        ]
        lines += ["|---|---|---|---|", *(f"| {_correlated(one)} |" for one in found)]
    return "\n".join(lines) + "\n"


def _cell(number: Number) -> str:
    ends = "" if number.ci_low is None else f" [{number.ci_low:.3g}, {number.ci_high:.3g}]"
    return f"{number.value:.3g}{ends} ({number.n_problems})"


def _correlated(one: Correlation) -> str:
    return f"{one.quantity} | {one.arm} | {one.value:.2f} [{one.ci_low:.2f}, {one.ci_high:.2f}] | {one.n_bases}"


def write(paths: Iterable[Path], out: Path) -> Path:
    """Screen the runs, write both files into `out`, and return the page's path.

    Raises:
        UserError: a folder is no run, or has no likelihoods.
    """
    paths = list(paths)
    screens = [screen(RunFolder(path / "candidates" if (path / "candidates").is_dir() else path)) for path in paths]
    gained = [gains(path) for path in paths]
    found = correlations(screens, gained)
    names = [path.name for path in paths]
    out.mkdir(parents=True, exist_ok=True)
    content = [
        {"run": name, "screen": list(map(asdict, numbers)), "gains": gain}
        for name, numbers, gain in zip(names, screens, gained, strict=True)
    ]
    described = {"runs": content, "correlations": list(map(asdict, found))}
    (out / "screen.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    (out / "screen.md").write_text(page(names, screens, found), encoding="utf-8")
    return out / "screen.md"


def main() -> None:
    """Write the page and print its path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("-o", "--out", type=Path, default=Path("results/analysis-screen"))
    given = parser.parse_args()
    try:
        print(write(given.runs, given.out))
    except UserError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
