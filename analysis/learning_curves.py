"""Learning curves of a study as figures: `python -m analysis.learning_curves STUDY [-o FOLDER]`.

Reads STUDY/curves.json, which `expo-bench study` writes. Each figure shows some arms: what they solve after so many
steps, the band being the 95% interval over problems and seeds, the thin lines the seeds themselves.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

METRICS = ("pass@1", "pass@8")
# Okabe and Ito: tells apart for most eyes, on light and on dark ground
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#7A5195")


def draw(points: Sequence[dict[str, Any]], arms: Sequence[str], title: str) -> Any:
    """Return a figure with a panel a metric, a curve an arm; arms without points are left out."""
    figure, panels = plt.subplots(1, len(METRICS), figsize=(9, 3.6), sharey=True, layout="constrained")
    for panel, metric in zip(panels, METRICS, strict=True):
        for number, arm in enumerate(arms):
            curve = [one for one in points if one["arm"] == arm and one["metric"] == metric and one["level"] is None]
            _curve(panel, curve, arm, COLOURS[number % len(COLOURS)])
        panel.set(title=metric, xlabel="optimizer steps", ylim=(-0.02, 1.02))
        panel.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
        panel.grid(alpha=0.25)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    panels[0].set_ylabel("solved")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.suptitle(title, fontsize=11)
    return figure


def _curve(panel: Any, curve: Sequence[dict[str, Any]], arm: str, colour: str) -> None:
    if not curve:
        return
    steps = [one["step"] for one in curve]
    for seed in range(min(len(one["per_seed"]) for one in curve)):
        panel.plot(steps, [one["per_seed"][seed] for one in curve], color=colour, linewidth=0.6, alpha=0.5)
    panel.fill_between(
        steps,
        [one["ci_low"] for one in curve],
        [one["ci_high"] for one in curve],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
    panel.plot(steps, [one["value"] for one in curve], color=colour, linewidth=2, label=arm)


def table(points: Sequence[dict[str, Any]]) -> str:
    """Return the last point of every arm as a Markdown table."""
    last = {one["arm"]: max(o["step"] for o in points if o["arm"] == one["arm"]) for one in points}
    lines = ["| arm | pass@1 | seeds | pass@8 | generated tokens |", "|---|---|---|---|---|"]
    for arm, step in last.items():
        found = {
            one["metric"]: one
            for one in points
            if one["arm"] == arm and one["step"] == step and one["level"] is None and one["ci_low"] is not None
        }
        one, eight = found["pass@1"], found["pass@8"]
        seeds = ", ".join(f"{value:.1%}" for value in one["per_seed"])
        lines.append(f"| {arm} | {_interval(one)} | {seeds} | {_interval(eight)} | {one['generated_tokens']:,.0f} |")
    return "\n".join(lines) + "\n"


def _interval(one: dict[str, Any]) -> str:
    return f"{one['value']:.1%} [{one['ci_low']:.1%}, {one['ci_high']:.1%}]"


def main() -> None:
    """Draw the figures that are asked for, or one of all arms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="default: STUDY/figures")
    parser.add_argument(
        "--figure",
        action="append",
        metavar="NAME=ARM,ARM,...",
        help="a figure of these arms; may be given again [default: one of all]",
    )
    given = parser.parse_args()
    path = given.study / "curves.json"
    if not path.is_file():
        parser.exit(2, f"{path} is not there: run expo-bench study first\n")
    points = json.loads(path.read_text())
    out = given.out or given.study / "figures"
    out.mkdir(parents=True, exist_ok=True)
    everything = ",".join(dict.fromkeys(one["arm"] for one in points))
    for text in given.figure or [f"arms={everything}"]:
        name, _, arms = text.partition("=")
        if not name.replace("-", "").isalnum() or not set(arms.split(",")) <= set(everything.split(",")):
            parser.exit(2, f"--figure {text}: NAME=ARM,ARM of {everything} is wanted\n")
        draw(points, arms.split(","), name.replace("-", " ")).savefig(out / f"{name}.svg", transparent=False)
    (out / "table.md").write_text(table(points))
    print(table(points), end="")
    print(out)


if __name__ == "__main__":
    main()
