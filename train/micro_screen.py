"""Bases that differ in their pretraining, and what training gains from each: `python train/micro_screen.py -o FOLDER`.

Each base is made by train/micro_base.py and put into train/studies/micro-screen.yaml; both can be stopped at any
moment, and the same command goes on with what is not there. The screen against the gains is then
`python -m analysis.screen FOLDER/*/study`.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
RIGHT_AT_LEVEL_5 = (0.0003, 0.001, 0.003, 0.01)
SHOWN_ANSWERS = (0.1, 0.25, 0.4)
EASIER = (1.0, 0.5, 0.1, 0.01)
"""The share of the right rule at levels 1 to 4, as in the policy that is shipped."""


def make_base(folder: Path, right: float, shown: float, steps: int) -> None:
    """Pretrain a base; the folder appears whole or not at all."""
    if folder.is_dir():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    words = ["--output", partial, "--steps", steps, "--samples", 0, "--shown-answers", shown, "--right-rule"]
    command = [sys.executable, HERE / "micro_base.py", *words, *EASIER, right]
    subprocess.run([str(word) for word in command], check=True)
    partial.rename(folder)


def run_study(base: Path, folder: Path) -> None:
    """Screen the base and train it in both arms; a study that is finished is left as it is."""
    study = yaml.safe_load((HERE / "studies" / "micro-screen.yaml").read_text(encoding="utf-8"))
    study["shared"]["model"] = str(base.resolve())
    file = base.with_name("study.yaml")
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "expo_bench", "study", str(file), "-o", str(folder)], check=True)


def main() -> None:
    """Go through the bases, those in the corners of the grid first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("results/micro-screen"))
    parser.add_argument("--steps", type=int, default=800, help="of pretraining")
    given = parser.parse_args()
    grid = sorted(itertools.product(RIGHT_AT_LEVEL_5, SHOWN_ANSWERS), key=lambda one: one[1] == SHOWN_ANSWERS[1])
    for right, shown in grid:
        folder = given.out / f"right-{right}-shown-{shown}"
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "study" / "report.html").is_file():
            continue
        make_base(folder / "base", right, shown, given.steps)
        run_study(folder / "base", folder / "study")


if __name__ == "__main__":
    main()
