"""The same small grid of learning rates for every arm, on seeds other than those that are reported."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from expo_bench.errors import UserError
from expo_bench.evaluation.progress import Progress
from expo_bench.storage.row_files import write_atomically
from expo_bench.studies.learning_curves import right_counts
from expo_bench.studies.study import Run, Study, runs, train_all

FOLDER = "rates"


def rate_study(study: Study) -> Study:
    """Return the study of the grid: the arms that are asked, with each rate and the grid's own seeds."""
    grid = study.grid
    arms = {
        # the choice looks at the last step alone
        _name(arm, rate): {**differing, "learning_rate": rate, "save_every": None}
        for arm, differing in study.arms.items()
        if grid.suffix is None or arm.endswith(f".{grid.suffix}")
        for rate in grid.values
    }
    if not arms:
        raise UserError(f"rates.suffix: no arm ends in .{grid.suffix}")
    return Study(seeds=grid.seeds, shared=study.shared, arms=arms)


def with_rates(study: Study, path: Path, progress: Progress, jobs: int) -> tuple[Study, list[str]]:
    """Run what is left of the grid; return the study with the best rate in each arm, and lines of runs that failed.

    Best is the highest pass@1 after the last step, mean of the grid's seeds; the smaller of equal rates.

    Args:
        study: with a section `rates`.
        path: its folder; the grid's lies in it.
        progress: told of the runs.
        jobs: runs at the same time.

    Raises:
        UserError: an arm of which no run of the grid came to its end, or that is none of the grid's.
    """
    asked = rate_study(study)
    failed = train_all(asked, path / FOLDER, progress, jobs)
    found = solved(runs(asked, path / FOLDER))
    arms, chosen = {}, {}
    for arm, differing in study.arms.items():
        looked_at = arm if study.grid.suffix is None else f"{arm.partition('.')[0]}.{study.grid.suffix}"
        if looked_at not in study.arms:
            raise UserError(f"arm {arm}: rates.suffix looks for an arm {looked_at}, and there is none")
        means = {
            rate: fmean(found[_name(looked_at, rate)]) for rate in study.grid.values if _name(looked_at, rate) in found
        }
        if not means:
            raise UserError(f"arm {arm}: no run of its learning rates came to its end; {failed[0] if failed else ''}")
        chosen[arm] = min(means, key=lambda rate: (-means[rate], rate))
        arms[arm] = {**differing, "learning_rate": chosen[arm]}
    write_atomically(path / "rates.json", json.dumps({"chosen": chosen, "pass@1": found}, indent=1))
    return study.model_copy(update={"arms": arms}), failed


def solved(listed: Sequence[Run]) -> dict[str, list[float]]:
    """Return pass@1 after the last step of each finished run, by arm, in the order of the seeds.

    Raises:
        UserError: a run that another release graded.
    """
    found: dict[str, list[float]] = {}
    for run in listed:
        if run.done and run.folder.checkpoints():
            evaluated = run.folder.evaluation(run.folder.checkpoints()[-1])
            counts = right_counts(evaluated)
            if not counts:
                raise UserError(
                    f"{evaluated.path} has no verdict of the grader of this release: move {run.folder.path} away, and "
                    "the same command makes the run again"
                )
            found.setdefault(run.arm, []).append(fmean(c / n for n, c in counts.values()))
    return found


def _name(arm: str, rate: float) -> str:
    return f"{arm}_{rate:g}"
