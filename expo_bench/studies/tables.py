"""The tables of a study's page: what each arm solves in the end, level by level, and what the ledger counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from expo_bench.errors import span
from expo_bench.reports.tables import MISSING, Cell, Row, Table
from expo_bench.studies.learning_curves import Point

_PAPER = {
    "base, pass@64": (97, 88, 75, 32, 4),
    "GRPO, pass@4": (91, 84, 77, 39, 2),
    "GRPO + expert chains, pass@4": (95, 89, 83, 65, 12),
    "ExP-GRPO, pass@4": (96, 91, 86, 76, 23),
}


def arms(points: Sequence[Point]) -> list[str]:
    """Return the arms that were evaluated, in the order of the study."""
    return list(dict.fromkeys(point.arm for point in points if point.metric == "pass@1"))


def last(points: Sequence[Point], arm: str, level: int | None = None) -> dict[str, Point]:
    """Return the arm's points after the last step that was evaluated, by metric."""
    step = max(point.step for point in points if point.arm == arm and point.metric == "pass@1")
    return {one.metric: one for one in points if (one.arm, one.step, one.level) == (arm, step, level)}


def by_problems(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Return the points of the arms that were evaluated on the same problems, in the order of the study."""
    found: dict[str, list[Point]] = {}
    evaluated = set(arms(points))
    for point in (point for point in points if point.arm in evaluated):
        found.setdefault(point.problems or "other problems", []).append(point)
    return found


def budgets(points: Sequence[Point]) -> dict[str, float]:
    """Return the tokens that each arm has generated in the end."""
    return {arm: max(point.generated_tokens for point in points if point.arm == arm) for arm in arms(points)}


def spend_alike(points: Sequence[Point]) -> bool:
    """Tell whether each arm generates as many tokens as the first, within 5%."""
    first, *others = budgets(points).values()
    return all(abs(one - first) <= 0.05 * first for one in others)


def end_table(points: Sequence[Point], verdicts: Mapping[str, str] | None = None) -> Table:
    """Return what each arm solves after its last step, best first; arms stand together that saw the same problems.

    Args:
        points: of the whole study.
        verdicts: of an arm's training, in the ledger's words; no column where there are none.
    """
    several = any(len(point.per_seed) > 1 for point in points if point.metric == "pass@1")
    sets = by_problems(points)
    rows = []
    for problems, group in sets.items():
        rows += [Row(label=problems)] if len(sets) > 1 else []
        for arm in sorted(arms(group), key=lambda arm: -last(group, arm)["pass@1"].value):
            cells = _end(last(group, arm), with_seeds=several)
            told = [Cell(text=verdicts.get(arm, MISSING))] if verdicts else []
            rows.append(Row(label=arm, depth=1, cells=[*cells, *told]))
    over = (
        "mean of the seeds, with the 95% interval for problems and seeds like these"
        if several
        else ("with the 95% interval for problems like these")
    )
    caption = (
        f"Percent of held-out problems after the last step, {over}. All wrong: training groups without a right rollout "
        "since the checkpoint before. Entropy: of the rollouts since then, nats a token. Tokens: generated in training."
    )
    head = ["Arm", "pass@1", *(["seeds"] if several else []), "pass@4", "pass@8", "all wrong", "entropy", "tokens"]
    return Table(caption=caption, head=[*head, *(["verdict"] if verdicts else [])], rows=rows)


def _end(ends: Mapping[str, Point], *, with_seeds: bool) -> list[Cell]:
    one, wrong, entropy = ends["pass@1"], ends.get("groups all wrong"), ends.get("entropy")
    seeds = [Cell(text=", ".join(f"{100 * value:.1f}" for value in one.per_seed))] if with_seeds else []
    texts = [
        MISSING if wrong is None else f"{100 * wrong.value:.0f}",
        MISSING if entropy is None else f"{entropy.value:.3f}",
        f"{one.generated_tokens:,.0f}",
    ]
    return [_cell(one), *seeds, _cell(ends.get("pass@4")), _cell(ends.get("pass@8")), *(Cell(text=t) for t in texts)]


def equal_table(points: Sequence[Point]) -> Table | None:
    """Return what each arm solves when it has generated as many tokens as the first one, of its problems, in the end.

    None where all arms spend about as much.
    """
    sets = by_problems(points)
    rows, told = [], []
    for problems, group in sets.items():
        if spend_alike(group):
            continue
        totals = budgets(group)
        first, budget = next(iter(totals.items()))
        told.append(f"{budget:,.0f}, which is what {first} has in the end")
        rows += [Row(label=problems)] if len(sets) > 1 else []
        found = [(arm, *_between(group, arm, budget)) for arm in totals]
        rows += [Row(label=arm, depth=1, cells=cells) for arm, _, cells in sorted(found, key=lambda one: -one[1])]
    if not rows:
        return None
    caption = (
        f"The same at equal generated tokens: when an arm has generated {'; '.join(told)}. Discarded completions, "
        "hints and explanations count. On a straight line between two checkpoints; an arm that spends less is read at "
        "its end. Behind it the last checkpoint within these tokens, as it was measured."
    )
    head = ["Arm", "pass@1", "pass@8", "within: pass@1", "pass@8", "step", "tokens"]
    return Table(caption=caption, head=head, rows=rows)


def _between(points: Sequence[Point], arm: str, budget: float) -> tuple[float, list[Cell]]:
    """Return pass@1 of an arm at so many tokens, and the cells of its row."""
    read: list[float | None] = []
    measured: list[Point | None] = []
    for metric in ("pass@1", "pass@8"):
        listed = [one for one in points if (one.arm, one.metric, one.level) == (arm, metric, None)]
        tokens, values = [one.generated_tokens for one in listed], [one.value for one in listed]
        read.append(float(np.interp(budget, tokens, values)) if listed else None)
        measured.append(max((one for one in listed if one.generated_tokens <= budget), key=_step, default=None))
    shares = [Cell(text=MISSING if one is None else f"{100 * one:.1f}") for one in read]
    at = measured[0]
    where = [MISSING, MISSING] if at is None else [str(at.step), f"{at.generated_tokens:,.0f}"]
    return read[0] or 0.0, [*shares, *map(_cell, measured), *(Cell(text=text) for text in where)]


def _step(point: Point) -> int:
    return point.step


def level_tables(points: Sequence[Point]) -> list[Table]:
    """Return pass@1, @4 and @8 by level, before training and after; nothing where one level was evaluated."""
    levels = sorted({one.level for one in points if one.level is not None})
    evaluated = {one.metric for one in points if one.level is not None}
    tables = []
    for metric in (metric for metric in ("pass@1", "pass@4", "pass@8") if metric in evaluated):
        before = {one.level: one for one in reversed(points) if one.metric == metric and one.step == 0}
        rows = [Row(label="before training", depth=0, cells=[_cell(before.get(level)) for level in levels])]
        for arm in arms([point for point in points if point.level is not None]):
            cells = [_cell(last(points, arm, level).get(metric)) for level in levels]
            rows.append(Row(label=arm, depth=1, cells=cells))
        caption = f"{metric} by level, percent, with 95% intervals for problems and seeds like these."
        tables.append(Table(caption=caption, head=["Arm", *(f"level {level}" for level in levels)], rows=rows))
    return tables


def paper_table() -> Table:
    """Return the published numbers by level (ExPO, arXiv 2507.02834; told by one reader, those of level 5 by two)."""
    rows = [Row(label=name, cells=[Cell(text=str(value)) for value in values]) for name, values in _PAPER.items()]
    caption = (
        "For reference, as published (arXiv 2507.02834): Qwen2.5-3B-Instruct trained on MATH, test problems of MATH by "
        "level, percent. Not to be compared with the numbers above: others measure 40% avg@4 for the stock model at "
        "level 5, so the protocol was a harsher one. Measure the base yourself."
    )
    return Table(caption=caption, head=["Policy", *(f"level {level}" for level in range(1, 6))], rows=rows)


def verdicts(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the verdict of each arm's training by a study's ledger, which takes several seeds to have one."""
    return {one["arm"]: one["verdict"] for one in content.get("methods", []) if one["verdict"]}


def ledger_table(content: Mapping[str, Any]) -> Table:
    """Return the coverage cells, a checkpoint a row, and above several seeds of an arm what all of them show."""
    rows = []
    methods = {one["arm"]: one for one in content.get("methods", []) if one["seeds"] > 1}
    for section in content["comparisons"]:
        if method := methods.pop(section.get("arm"), None):
            rows.append(
                Row(label=f"{method['arm']}, all {method['seeds']} seeds", cells=[Cell(text=method["verdict"])])
            )
        numbers = section["subsets"]["all"]
        cells, null = numbers["cells"], numbers["null"]
        shown = [cells["trained_only"], cells["base_only"], f"{null['expected']:.1f}", cells["both"], cells["neither"]]
        texts = [section["verdict"]["kind"], *shown]
        rows.append(Row(label=section["trained"], depth=1, cells=[Cell(text=str(text)) for text in texts]))
    budget = content["comparisons"][0]["subsets"]["all"]["budget"]["smallest"]
    caption = (
        f"Problems solved in {budget} samples by the base and by each run's last checkpoint. By chance: how many new "
        "(or lost) ones two draws of the same policy would show. A verdict is about one checkpoint; that of all seeds "
        "is what every one of them shows, and speaks of the method. An arm with one seed says nothing of its method."
    )
    head = ["Arm", "verdict", "new", "lost", "by chance", "both", "neither"]
    return Table(caption=caption, head=head, rows=rows)


def _cell(point: Point | None) -> Cell:
    if point is None:
        return Cell(text=MISSING)
    return Cell(text=f"{100 * point.value:.1f}", interval=span(point.ci_low, point.ci_high))
