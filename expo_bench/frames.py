"""Run folders and training folders as pandas DataFrames, for notebooks. Columns are the fields of the rows.

docs/frames.md has examples. Needs pandas, of the extra `notebooks`.
"""

from collections.abc import Iterable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expo_bench import rows
from expo_bench.errors import UserError, install
from expo_bench.grading.judge import GRADER
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.training_folder import TrainingFolder

if TYPE_CHECKING:
    import pandas as pd

_KEY = ["problem_id", "sample_index"]
# types that hold a missing value beside whole numbers and booleans: pandas would make floats and objects of them
_DTYPES: dict[Any, str] = {
    bool: "boolean", bool | None: "boolean", int: "Int64", int | None: "Int64", float: "float64",
    float | None: "float64",
}  # fmt: skip


def problems(run: RunFolder | Path | str) -> "pd.DataFrame":
    """Return a row a problem, with the columns of `Problem`.

    Raises:
        UserError: pandas is missing, or this is no run folder.
    """
    return _frame(_run(run).problems(), rows.Problem)


def samples(run: RunFolder | Path | str, *, grader: str = GRADER) -> "pd.DataFrame":
    """Return a row a sample: the columns of `Sample`, and those of `Grade` by one grader, empty where it has none.

    `error` and `text` are the sample's; `status`, `correct`, `extracted`, `answer_class` and `seconds` the grade's.

    Raises:
        UserError: as `problems`.
    """
    run = _run(run)
    grades = _frame(run.grades(grader), rows.Grade)
    return _frame(run.samples(), rows.Sample).merge(grades, on=_KEY, how="left", validate="one_to_one")


def metrics(run: RunFolder | Path | str) -> "pd.DataFrame":
    """Return a row a metric, with the columns of `Metric`, those of all graders.

    Raises:
        UserError: as `problems`.
    """
    return _frame(_run(run).metrics(), rows.Metric)


def candidates(run: RunFolder | Path | str) -> "pd.DataFrame":
    """Return a row for each candidate and each policy that scored it; one row, without a likelihood, where none did.

    The columns are those of `Candidate`, with its `policy` as `written_by`, those of `Likelihood`, and `lift`:
    answer_logprob_with - answer_logprob_without, in nats.

    Raises:
        UserError: as `problems`.
    """
    run = _run(run)
    scored = _frame((row for policy in run.policies() for row in run.likelihoods(policy)), rows.Likelihood)
    scored["lift"] = scored["answer_logprob_with"] - scored["answer_logprob_without"]
    written = _frame(run.candidates(), rows.Candidate).rename(columns={"policy": "written_by"})
    return written.merge(scored, on=["problem_id", "candidate_id"], how="left", validate="one_to_many")


def rollouts(folder: TrainingFolder | Path | str) -> "pd.DataFrame":
    """Return a row for each chain that a training step drew or learned from, with the columns of `Rollout`.

    Raises:
        UserError: pandas is missing, or this is no training folder.
    """
    return _frame(_training(folder).rollouts(), rows.Rollout)


def log(folder: TrainingFolder | Path | str) -> "pd.DataFrame":
    """Return a row a logging step, with what the trainer logged.

    Raises:
        UserError: as `rollouts`.
    """
    frame: pd.DataFrame = _pandas().DataFrame(_training(folder).log())
    return frame


def _frame(found: Iterable[Any], kind: type) -> "pd.DataFrame":
    columns = fields(kind)  # they are there where the rows are not
    values = [[getattr(row, column.name) for column in columns] for row in found]
    frame: pd.DataFrame = _pandas().DataFrame(values, columns=[column.name for column in columns])
    return frame.astype({column.name: _DTYPES[column.type] for column in columns if column.type in _DTYPES})


def _run(run: RunFolder | Path | str) -> RunFolder:
    run = run if isinstance(run, RunFolder) else RunFolder(run)
    run.read_manifest()
    return run


def _training(folder: TrainingFolder | Path | str) -> TrainingFolder:
    folder = folder if isinstance(folder, TrainingFolder) else TrainingFolder(folder)
    if not folder.recipe_path.is_file():
        raise UserError(f"{folder.path} is not a training folder: it has no recipe.yaml")
    return folder


def _pandas() -> Any:
    try:
        return import_module("pandas")
    except ImportError as error:
        raise UserError(f"frames need pandas: {install('notebooks')}") from error
