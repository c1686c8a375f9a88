"""The tables of a study's page: what each arm solves in the end, level by level, and what the ledger counts."""

from collections.abc import Mapping, Sequence
from typing import Any

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
    """Return the arms in the order of the study."""
    return list(dict.fromkeys(point.arm for point in points))


def last(points: Sequence[Point], arm: str, level: int | None = None) -> dict[str, Point]:
    """Return the arm's points after its last step, by metric."""
    step = max(point.step for point in points if point.arm == arm)
    return {one.metric: one for one in points if (one.arm, one.step, one.level) == (arm, step, level)}


def end_table(points: Sequence[Point]) -> Table:
    """Return what each arm solves after its last step, best first."""
    rows = []
    several = any(len(point.per_seed) > 1 for point in points if point.metric == "pass@1")
    for arm in sorted(arms(points), key=lambda arm: -last(points, arm)["pass@1"].value):
        ends = last(points, arm)
        one, wrong = ends["pass@1"], ends.get("groups all wrong")
        seeds = [Cell(text=", ".join(f"{100 * value:.1f}" for value in one.per_seed))] if several else []
        shares = Cell(text=MISSING if wrong is None else f"{100 * wrong.value:.0f}")
        tokens = Cell(text=f"{one.generated_tokens:,.0f}")
        solved = [_cell(ends.get("pass@4")), _cell(ends.get("pass@8"))]
        rows.append(Row(label=arm, depth=1, cells=[_cell(one), *seeds, *solved, shares, tokens]))
    over = (
        "mean of the seeds, with the 95% interval for problems and seeds like these"
        if several
        else ("with the 95% interval for problems like these")
    )
    caption = (
        f"Percent of held-out problems after the last step, {over}. All wrong: training groups without a right rollout "
        "since the checkpoint before. Tokens: generated in training."
    )
    head = ["Arm", "pass@1", *(["seeds"] if several else []), "pass@4", "pass@8", "all wrong", "tokens"]
    return Table(caption=caption, head=head, rows=rows)


def equal_table(points: Sequence[Point]) -> Table | None:
    """Return what each arm solves when it has generated as many tokens as the most frugal arm has in the end.

    An arm's value is that of its last checkpoint within the budget; None where all arms spend about as much.
    """
    totals = {arm: max(point.generated_tokens for point in points if point.arm == arm) for arm in arms(points)}
    budget = min(totals.values())
    if max(totals.values()) <= 1.05 * budget:
        return None
    found = []
    for arm in arms(points):
        within = [one for one in points if one.arm == arm and one.level is None and one.generated_tokens <= budget]
        step = max(one.step for one in within)
        found.append((arm, step, {one.metric: one for one in within if one.step == step}))
    rows = [
        Row(
            label=arm,
            depth=1,
            cells=[
                _cell(at.get("pass@1")),
                _cell(at.get("pass@8")),
                Cell(text=str(step)),
                Cell(text=f"{at['pass@1'].generated_tokens:,.0f}"),
            ],
        )
        for arm, step, at in sorted(found, key=lambda one: -one[2]["pass@1"].value)
    ]
    caption = (
        f"The same at equal generated tokens: each arm's last checkpoint within {budget:,.0f}, which the arm that "
        "spends least has used in the end. Discarded completions, hints and explanations count."
    )
    return Table(caption=caption, head=["Arm", "pass@1", "pass@8", "step", "tokens"], rows=rows)


def level_tables(points: Sequence[Point]) -> list[Table]:
    """Return pass@1, @4 and @8 by level, before training and after; nothing where one level was evaluated."""
    levels = sorted({one.level for one in points if one.level is not None})
    evaluated = {one.metric for one in points if one.level is not None}
    tables = []
    for metric in (metric for metric in ("pass@1", "pass@4", "pass@8") if metric in evaluated):
        before = {one.level: one for one in reversed(points) if one.metric == metric and one.step == 0}
        rows = [Row(label="before training", depth=0, cells=[_cell(before.get(level)) for level in levels])]
        for arm in arms(points):
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
