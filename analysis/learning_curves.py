"""Learning curves of a study as figures: `python -m analysis.learning_curves STUDY [-o FOLDER]`.

Reads STUDY/curves.json, which `expo-bench study` writes, and the verdicts of STUDY/ledger. Each figure shows some arms:
what they solve after so many steps, or generated tokens where these differ, the band being the 95% interval over
problems and seeds, the thin lines the seeds themselves.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from expo_bench import learning_curves, study_figures, study_markdown

Point = learning_curves.Point


def read_points(study: Path) -> list[Point]:
    """Return the points of a study's learning curves."""
    rows = json.loads((study / "curves.json").read_text(encoding="utf-8"))
    return [Point(**{**row, "per_seed": tuple(row["per_seed"])}) for row in rows]


def figures(points: Sequence[Point], arms: Sequence[str], name: str) -> dict[str, str]:
    """Return file name -> SVG; arms that do not fit into one figure make a second one, with the first arm again."""
    drawn = study_figures([point for point in points if point.arm in arms])
    return {f"{name}{'' if at == 1 else f'-{at}'}.svg": one._repr_svg_() for at, one in enumerate(drawn, start=1)}


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
    if not (given.study / "curves.json").is_file():
        parser.exit(2, f"{given.study / 'curves.json'} is not there: run expo-bench study first\n")
    points = read_points(given.study)
    everything = list(dict.fromkeys(point.arm for point in points))
    drawn: dict[str, str] = {}
    for text in given.figure or [f"arms={','.join(everything)}"]:
        name, _, arms = text.partition("=")
        if not name.replace("-", "").isalnum() or not set(arms.split(",")) <= set(everything):
            parser.exit(2, f"--figure {text}: NAME=ARM,ARM of {','.join(everything)} is wanted\n")
        drawn |= figures(points, arms.split(","), name)
    out = given.out or given.study / "figures"
    out.mkdir(parents=True, exist_ok=True)
    ledger = given.study / "ledger" / "ledger.json"
    told = study_markdown(points, json.loads(ledger.read_bytes()) if ledger.is_file() else None)
    for name, text in {**drawn, "table.md": told}.items():
        (out / name).write_text(text, encoding="utf-8")
    print(told, end="")
    print(out)


if __name__ == "__main__":
    main()
