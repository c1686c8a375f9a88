"""What each arm of a study solves in the end: `python -m analysis.ablations STUDY [-o FOLDER]`.

Takes the folder of `expo-bench study`, with its finished runs. Writes a table and a figure (ablations.md,
ablations.svg): pass@1 and pass@8 after the last checkpoint, and the paired differences from the first arm, seed by
seed and problem by problem. 95% intervals are for problems and seeds like these, by a crossed analysis of variance:
wide with two seeds, and of problems alone with one; the table tells their number and the figure shows each.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from expo_bench import UserError, intervals, learning_curves, load_study, runs

KS = (1, 8)
Solved = dict[int, dict[str, tuple[int, int]]]
"""Seed -> problem -> samples and right ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An arm and a k: its pass@k, or that minus the first arm's; shares between -1 and 1."""

    arm: str
    k: int
    value: float | None
    low: float | None
    high: float | None
    seeds: tuple[float, ...]
    n_problems: int


def ends(study: Path) -> dict[str, Solved]:
    """Return, for each arm, what the last checkpoint of each finished run solved.

    Raises:
        UserError: no such study, or no finished run with an evaluation.
    """
    found: dict[str, Solved] = {}
    for run in runs(load_study(study / "study.yaml"), study):
        last = max(run.folder.checkpoints(), default=0)
        if not (run.done and last and run.folder.evaluation(last).manifest_path.is_file()):
            continue
        counts = learning_curves.right_counts(run.folder.evaluation(last))
        found.setdefault(run.arm, {})[run.seed] = counts
    if not found:
        raise UserError(f"{study} has no finished run with an evaluation: run expo-bench study first")
    return found


def levels(arm: str, solved: Solved, k: int) -> Row:
    """Return an arm's pass@k over the problems that all its seeds were evaluated on."""
    values = _rates(solved, _shared([solved]), sorted(solved), k)
    return _row(arm, k, values, intervals.crossed(values) if values.size else None)


def differences(arm: str, solved: Solved, first: Solved, k: int) -> Row:
    """Return an arm's pass@k minus the first arm's, over the seeds and problems that both have."""
    seeds = sorted(solved.keys() & first.keys())
    problems = _shared([{seed: one[seed] for seed in seeds} for one in (solved, first)])
    one, other = _rates(solved, problems, seeds, k), _rates(first, problems, seeds, k)
    values = one - other if one.shape == other.shape else np.empty((0, 0))
    return _row(arm, k, values, intervals.crossed(values, -1.0) if values.size else None)


def _shared(several: Sequence[Solved]) -> list[str]:
    sets = [counts.keys() for one in several for counts in one.values()]
    return sorted(set.intersection(*map(set, sets))) if sets else []


def _rates(solved: Solved, problems: Sequence[str], seeds: Sequence[int], k: int) -> NDArray[np.float64]:
    """Return 1 - C(n-c, k) / C(n, k), shape (seeds, problems); empty where some problem has fewer than k samples."""
    pairs = [[solved[seed][one] for one in problems] for seed in seeds]
    if not all(n >= k for row in pairs for n, _ in row):
        return np.empty((0, 0))
    return np.array([[1 - math.comb(n - c, k) / math.comb(n, k) for n, c in row] for row in pairs])


def _row(arm: str, k: int, values: NDArray[np.float64], interval: tuple[float, float] | None) -> Row:
    if not values.size:
        return Row(arm=arm, k=k, value=None, low=None, high=None, seeds=(), n_problems=0)
    low, high = interval or (None, None)
    seeds = tuple(map(float, values.mean(axis=1)))
    return Row(arm=arm, k=k, value=float(values.mean()), low=low, high=high, seeds=seeds, n_problems=values.shape[1])


def table(found: dict[str, Solved]) -> str:
    """Return pass@k by arm and the paired differences from the first arm, in percent and points, in Markdown."""
    first = next(iter(found))
    heads = ["arm", "problems", "seeds"]
    heads += [f"pass@{k}, %" for k in KS] + [f"pass@{k} minus {first}" for k in KS]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for arm, solved in found.items():
        own = [levels(arm, solved, k) for k in KS]
        against = [differences(arm, solved, found[first], k) for k in KS]
        cells = [_cell(row) for row in own] + [_cell(row, "+") if arm != first else "–" for row in against]
        lines.append(f"| {' | '.join([arm, str(own[0].n_problems), str(len(solved)), *cells])} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row, sign: str = "") -> str:
    if row.value is None:
        return "–"
    interval = "" if row.low is None or row.high is None else f" [{100 * row.low:.1f}, {100 * row.high:.1f}]"
    return f"{100 * row.value:{sign}.1f}{interval}"


def draw(found: dict[str, Solved]) -> Any:
    """Return a figure: arms down; pass@k across, above, and the paired difference from the first arm, below."""
    first = next(iter(found))
    figure, panels = plt.subplots(
        2, len(KS), figsize=(9, 2 + 0.5 * len(found)), squeeze=False, sharey="row", layout="constrained"
    )
    for column, k in enumerate(KS):
        _panel(panels[0, column], [levels(arm, solved, k) for arm, solved in found.items()], f"pass@{k}, %")
        rows = [differences(arm, solved, found[first], k) for arm, solved in found.items()]
        _panel(panels[1, column], rows[1:], f"pass@{k} minus {first}, points")
        panels[1, column].axvline(0, color="#555555", linewidth=0.8)
    return figure


def _panel(panel: Any, rows: Sequence[Row], title: str) -> None:
    for place, row in enumerate(rows):
        if row.value is None:
            continue
        if row.low is not None and row.high is not None:
            panel.plot([100 * row.low, 100 * row.high], [place, place], color="#0072B2", linewidth=2)
        panel.plot([100 * value for value in row.seeds], [place] * len(row.seeds), "|", color="#555555", markersize=9)
        panel.plot([100 * row.value], [place], "o", color="#0072B2")
    panel.set_yticks(range(len(rows)), labels=[row.arm for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_title(title, fontsize=10)
    panel.grid(axis="x", alpha=0.25)


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, metavar="STUDY")
    parser.add_argument("-o", "--out", type=Path, help="default: STUDY/figures")
    given = parser.parse_args()
    out = given.out or given.study / "figures"
    try:
        found = ends(given.study)
    except UserError as error:
        parser.exit(2, f"{error}\n")
    out.mkdir(parents=True, exist_ok=True)
    (out / "ablations.md").write_text(table(found), encoding="utf-8")
    draw(found).savefig(out / "ablations.svg", transparent=False)
    print(table(found), end="")
    print(out)


if __name__ == "__main__":
    main()
