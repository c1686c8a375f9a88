"""How likely the chains of a training run are while it lasts: `python -m analysis.training_likelihood FOLDER...`.

Reads the rollouts of training folders. For each: mean log-probability per token, under the policy of the step, of own
rollouts, self-explanations and expert chains, and the share of groups from whose rewards GRPO learns nothing. Prints
the same by thirds of the training, and how many chains were right and how many cut off.
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from expo_bench import Rollout, TrainingFolder, zero_reward

COLOURS = {"own": "#0072B2", "self_explanation": "#009E73", "expert": "#D55E00"}


def per_token(rollouts: list[Rollout]) -> list[float]:
    """Return log pi(chain | question) / tokens of the chains that were measured."""
    return [row.sum_logprob / row.n_tokens for row in rollouts if row.sum_logprob is not None and row.n_tokens]


def mean_logprobs(rollouts: list[Rollout]) -> dict[str, dict[int, float]]:
    """Return, by source and step, the mean over chains of log pi(chain | question) / tokens, where it was measured."""
    found: dict[str, dict[int, list[Rollout]]] = defaultdict(lambda: defaultdict(list))
    for row in rollouts:
        if per_token([row]):
            found[row.source][row.step].append(row)
    return {source: {step: mean(per_token(rows)) for step, rows in by.items()} for source, by in found.items()}


def read(folders: list[Path]) -> list[tuple[str, list[Rollout]]]:
    """Return the name, arm and seed, of each training folder and its rollouts."""
    return [(f"{path.parent.name}, {path.name}", list(TrainingFolder(path).rollouts())) for path in folders]


def table(runs: Sequence[tuple[str, list[Rollout]]]) -> str:
    """Return Markdown: a row for each third of a run's steps and source, the median and mean of -log pi a token."""
    lines = ["| run | steps | chains | n | right | cut off | -log π a token: median | mean | measured |"]
    lines.append("|" + "---|" * 9)
    for name, rollouts in runs:
        end = max((row.step for row in rollouts), default=-1) + 1
        cuts = [end * part // 3 for part in range(4)]
        for first, behind in itertools.pairwise(cuts):
            for source in dict.fromkeys(row.source for row in rollouts):
                rows = [row for row in rollouts if first <= row.step < behind and row.source == source]
                if not rows:
                    continue
                known = per_token(rows)
                told = f"{-median(known):.2f} | {-mean(known):.2f}" if known else "– | –"
                right, cut = sum(row.reward == 1 for row in rows), sum(row.finish_reason == "length" for row in rows)
                part = f"{first} to {behind - 1} | {source}"
                lines.append(f"| {name} | {part} | {len(rows)} | {right} | {cut} | {told} | {len(known)} |")
    return "\n".join(lines) + "\n"


def draw(runs: Sequence[tuple[str, list[Rollout]]]) -> Any:
    """Return a figure with two panels a run: log-probabilities above, zero-reward groups below."""
    figure, panels = plt.subplots(
        2, len(runs), figsize=(1 + 3.6 * len(runs), 5), squeeze=False, sharex="col", sharey="row",
        layout="constrained",
    )  # fmt: skip
    for (above, below), (title, rollouts) in zip(panels.T, runs, strict=True):
        for source, curve in mean_logprobs(rollouts).items():
            above.plot(list(curve), list(curve.values()), label=source.replace("_", " "), color=COLOURS[source])
        # chains of the expert are hundreds of times less likely than the policy's own
        above.set_yscale("symlog", linthresh=0.01)
        above.set_title(title, fontsize=9)
        ledger = zero_reward(rollouts)
        for share, style in (("all_wrong", "-"), ("all_right", ":")):
            levels = sorted({row.level for row in ledger}, key=lambda level: level or 0)
            for level in levels:
                rows = [row for row in ledger if row.level == level]
                name = share.replace("_", " ") + (f", level {level}" if level is not None else "")
                below.plot(
                    [r.step for r in rows], [getattr(r, share) for r in rows], style, color="#555555", label=name
                )
        below.set(xlabel="optimizer steps", ylim=(-0.05, 1.05))
    panels[0, 0].set_ylabel("log-probability per token (nats)")
    panels[1, 0].set_ylabel("share of groups")
    for row in panels:
        labelled = {name: line for panel in row for line, name in zip(*panel.get_legend_handles_labels(), strict=True)}
        row[0].legend(labelled.values(), labelled.keys(), fontsize=8)
    return figure


def main() -> None:
    """Draw one figure of all folders, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("-o", "--out", type=Path, default=Path("training-likelihood.svg"))
    given = parser.parse_args()
    for path in given.folders:
        if not TrainingFolder(path).rollouts_path.is_file():
            parser.exit(2, f"{path} has no rollouts.jsonl: a folder of an online training run is wanted\n")
    runs = read(given.folders)
    print(table(runs), end="")
    draw(runs).savefig(given.out)
    print(given.out)


if __name__ == "__main__":
    main()
