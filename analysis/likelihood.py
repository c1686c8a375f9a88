"""The two properties of candidate chains: `python -m analysis.likelihood RUN... [-o FOLDER]`.

Which chains are likely under the policy, and which make the right answer likelier? Takes run folders that `expo-bench
likelihood` scored. Writes, for each, the two-property table (table.md; all numbers in table.csv) and the figures, among
them the plane of both properties.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from expo_bench import LikelihoodMetric, RunFolder, UserError, likelihood_figures

COLUMNS = {
    "mean_logprob": "log p per token", "median_logprob": "median", "nll_ratio": "NLL ratio",
    "answer_lift": "answer lift", "median_lift": "median", "answer_lift_answered": "lift, answered",
    "logprob_gap": "log p gap", "lift_gap": "lift gap", "reaches_answer": "reaches, %", "leaks_answer": "leaks, %",
}  # fmt: skip
SHARES = ("reaches_answer", "leaks_answer")


def table(metrics: Sequence[LikelihoodMetric]) -> str:
    """Return the two-property table of every policy in Markdown, a row a subset and source; nats, 95% intervals."""
    found = {(one.policy, one.subset, one.source, one.name): one for one in metrics}
    keys = dict.fromkeys((policy, subset, source) for policy, subset, source, _ in found)
    heads = ["policy", "problems", "source", "n", *COLUMNS.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for key in keys:
        known = {name: found.get((*key, name)) for name in COLUMNS}
        n = next((one.n_candidates for one in known.values() if one), 0)
        cells = [_cell(one, percent=name in SHARES) for name, one in known.items()]
        lines.append(f"| {' | '.join([*key, str(n), *cells])} |")
    return "\n".join(lines) + "\n"


def _cell(metric: LikelihoodMetric | None, *, percent: bool) -> str:
    if metric is None or metric.value is None:
        return "–"
    scale, digits = (100, 0) if percent else (1, 3)
    numbers = [metric.value, metric.ci_low, metric.ci_high]
    value, *ends = (None if number is None else f"{scale * number:.{digits}f}" for number in numbers)
    return f"{value} [{', '.join(map(str, ends))}]" if None not in ends else str(value)


def write(run: RunFolder, out: Path) -> None:
    """Write the tables and figures of one run into a folder."""
    metrics = run.likelihood_metrics()
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(table(metrics), encoding="utf-8")
    with (out / "table.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [asdict(metric) for metric in metrics]
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for drawing in likelihood_figures(run):
        (out / f"{drawing.name}.svg").write_text(drawing._repr_svg_(), encoding="utf-8")


def main() -> None:
    """Write a folder for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("-o", "--out", type=Path, default=Path("results/analysis-likelihood"))
    given = parser.parse_args()
    several = len(given.runs) > 1
    for number, path in enumerate(given.runs, start=1):
        run = RunFolder(path)
        out = given.out / f"{number}-{path.resolve().name}" if several else given.out
        try:
            if not run.likelihood_metrics_path.is_file():
                raise UserError(f"{path} has no likelihood metrics: score its candidates with expo-bench likelihood")
            write(run, out)
        except UserError as error:
            parser.exit(2, f"{error}\n")
        print(table(run.likelihood_metrics()), end="")
        print(out)


if __name__ == "__main__":
    main()
