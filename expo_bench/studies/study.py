"""A study: arms (recipes that differ in what is asked) x seeds, trained and evaluated, and read as one result.

Each run is an `expo-bench train` of its own, in its own process and folder, so a study can be stopped at any point and
goes on with the runs that are not finished. Runs are independent: `jobs` of them share the machine, forked from as many
processes that have imported what training needs. Runs that would evaluate the same base in the same way share one
evaluation.
"""

import os
import re
import selectors
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, model_validator

from expo_bench.config import CandidatesConfig, load_candidates_config
from expo_bench.errors import UserError
from expo_bench.evaluation.progress import Progress
from expo_bench.settings import Settings, Several, load_settings
from expo_bench.storage.row_files import write_atomically, writing
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.studies.fork_server import ForkServer
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.training import differing_keys, load_recipe, recipe_yaml

_STAGE = re.compile(r"[^\W\d][^/:]* \d+/\d+(?=  |$)")
"""The beginning of a line of progress in a run's log."""
_RESERVED = (".", "..", "candidates", "figures", "ledger", "rates")


class Rates(Settings):
    """A grid of learning rates, before the study, from which each arm takes its best."""

    values: Several[float] = Field(min_length=1)
    """The rates, the same for each arm."""
    seeds: Several[int] = Field(min_length=1)
    """Of the grid; none of the study's own."""
    suffix: str | None = None
    """Only arms whose name ends in this behind a dot are tried; METHOD.OTHER takes the rate of METHOD.SUFFIX."""


class Study(Settings):
    """What a study file may hold."""

    seeds: Several[int] = Field(min_length=1)
    shared: dict[str, Any] = Field(default_factory=dict)
    """Settings of every recipe."""
    arms: dict[str, dict[str, Any]] = Field(min_length=1)
    """Name of an arm -> the settings in which its recipe differs; null takes a shared section out."""
    candidates: dict[str, Any] | None = None
    """Settings of `expo-bench candidates` for a look at the base's candidate positives before training; those that are
    not given are taken from `shared` and its evaluation. None: no such stage."""
    rates: Rates | None = None
    """A grid of learning rates on other seeds; None: those of the recipes."""

    @model_validator(mode="after")
    def _other_seeds(self) -> Self:
        if self.rates and set(self.rates.seeds) & set(self.seeds):
            raise ValueError("rates.seeds may hold none of seeds: what is chosen on a seed may not be reported on it")
        return self

    @property
    def grid(self) -> Rates:
        """The section rates, which the study has."""
        assert self.rates is not None
        return self.rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One arm with one seed."""

    arm: str
    seed: int
    recipe: Recipe
    folder: TrainingFolder

    @property
    def done(self) -> bool:
        """Whether it was trained and evaluated to its end."""
        return self.folder.record_path.is_file()


def load_study(file: Path) -> Study:
    """Return the study that a YAML file describes.

    Raises:
        UserError: unreadable file, or a key or value that does not fit.
    """
    return load_settings(Study, file, {})


def runs(study: Study, path: Path) -> list[Run]:
    """Return all runs of a study, seed by seed, so that a stopped study has compared what it has.

    Raises:
        UserError: an arm is no recipe; the line names it.
    """
    found = []
    for seed in study.seeds:
        for arm, differing in study.arms.items():
            if arm in _RESERVED or not all(letter.isalnum() or letter in "-_.+" for letter in arm):
                raise UserError(
                    f"arm {arm!r}: a name of letters, digits and - _ . + is wanted, other than candidates, figures, "
                    "ledger and rates; it becomes a folder's"
                )
            settings = _merged(study.shared, differing)
            try:
                recipe = load_recipe(None, {**settings, "seed": seed})
            except UserError as error:
                raise UserError(f"arm {arm}: {error}") from error
            found.append(Run(arm=arm, seed=seed, recipe=recipe, folder=TrainingFolder(path / arm / f"seed-{seed}")))
    return found


def check_arms(study: Study, path: Path) -> None:
    """See that each arm that is left could be run, but for what another machine may have.

    Raises:
        UserError: one could not; the line names it.
    """
    from expo_bench.trainers.callbacks import check_evaluation
    from expo_bench.trainers.checks import checked_problems, unless_elsewhere

    everything = runs(study, path)
    for arm, recipe in {run.arm: run.recipe for run in everything if not run.done}.items():
        for check in (checked_problems, check_evaluation):
            try:
                with unless_elsewhere():
                    check(recipe)
            except UserError as error:
                raise UserError(f"arm {arm}: {error}") from error
    if all(run.recipe.evaluation is None for run in everything):
        raise UserError("no arm has a section `evaluation`: a study compares what its checkpoints solve")


def candidates_config(study: Study) -> CandidatesConfig | None:
    """Return the settings of the stage of candidates; None where the study has none.

    Raises:
        UserError: a key or value that does not fit.
    """
    if study.candidates is None:
        return None
    policy = ("model", "revision", "dtype", "data_dir", "prompt", "explain_prompt", "max_tokens", "temperature")
    held_out = ("benchmarks", "split", "levels", "limit")
    evaluation = study.shared.get("evaluation") or {}
    settings = {
        "seed": study.seeds[0],
        **{key: study.shared[key] for key in policy if key in study.shared},
        **{key: evaluation[key] for key in held_out if key in evaluation},
        **study.candidates,
    }
    try:
        return load_candidates_config(None, settings)
    except UserError as error:
        raise UserError(f"candidates: {error}") from error


def _merged(shared: Mapping[str, Any], differing: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(shared)
    for key, value in differing.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged


def train_all(study: Study, path: Path, progress: Progress, jobs: int) -> list[str]:
    """Train and evaluate the runs that are not finished; return the lines of those that failed.

    Args:
        study: arms and seeds.
        path: the study's folder; holds a folder for each arm, in it one for each seed.
        progress: is told of each finished run.
        jobs: runs at the same time; the processors are shared among them.

    Raises:
        UserError: an arm is no recipe, or the folder holds another study.
    """
    everything = runs(study, path)
    _check_same_study(everything)
    write_atomically(path / "study.yaml", yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False))
    waiting = [run for run in everything if not run.done]
    going = _Going()
    advance = progress.start("runs", len(everything), len(everything) - len(waiting), beside=going)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with_vllm = any(run.recipe.sampler == "vllm" for run in waiting)
    failed: list[str] = []
    with selectors.DefaultSelector() as replies, ExitStack() as held:

        def new_server() -> ForkServer:
            return held.enter_context(closing(ForkServer(threads, with_vllm=with_vllm)))

        idle = [new_server() for _ in range(min(jobs, len(waiting)))]
        while waiting or replies.get_map():
            while waiting and idle:
                run, server = waiting.pop(0), idle.pop()
                _take_base_evaluation(run, everything)
                _begin(run, server)
                going.runs.append(run)
                replies.register(server.replies, selectors.EVENT_READ, (run, server))
            for key, _ in replies.select():
                run, server = key.data
                replies.unregister(server.replies)
                going.runs.remove(run)
                if server.ended():
                    failed.append(f"{run.arm}, seed {run.seed}: {_last_line(run)}")
                    progress.note(failed[-1])
                advance(0)
                idle.append(server if server.alive else new_server())
    return failed


def _check_same_study(everything: Sequence[Run]) -> None:
    """Arms and seeds may be added to a study; what its finished runs were made with may not change."""
    for run in everything:
        if run.folder.recipe_path.is_file() and (keys := differing_keys(run.folder, run.recipe)):
            raise UserError(f"{run.folder.path} was made with another {', '.join(keys)}; choose another folder with -o")


def _take_base_evaluation(run: Run, everything: Sequence[Run]) -> None:
    """Give the run the finished evaluation of its base from another that asks for the same."""
    own = run.folder.evaluation(0)
    wanted = _base_evaluation(run.recipe)
    if own.path.exists() or wanted is None:
        return
    for other in everything:
        there = other.folder.evaluation(0)
        # the report is what an evaluation writes last
        if there.report_path.is_file() and _base_evaluation(other.recipe) == wanted:
            if not run.folder.recipe_path.is_file():
                run.folder.begin(recipe_yaml(run.recipe))
            torn = own.path.with_name("copying")
            shutil.rmtree(torn, ignore_errors=True)
            with writing(own.path):
                shutil.copytree(there.path, torn, copy_function=_link_or_copy, ignore=shutil.ignore_patterns(".lock"))
                torn.rename(own.path)
            return


def _base_evaluation(recipe: Recipe) -> dict[str, Any] | None:
    from expo_bench.trainers.callbacks import evaluation_settings

    chosen = recipe.evaluation
    return None if chosen is None else evaluation_settings(recipe, chosen, recipe.model)


def _link_or_copy(source: str, target: str) -> None:
    # a link takes no room, and rows of a finished evaluation are replaced, never written in place
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _begin(run: Run, server: ForkServer) -> None:
    recipe = run.folder.path.parent / f"seed-{run.seed}.yaml"
    write_atomically(recipe, recipe_yaml(run.recipe))
    log = _log_path(run)
    with writing(log):
        log.touch()
    server.begin(["train", str(recipe), "-o", str(run.folder.path)], log)


def _log_path(run: Run) -> Path:
    return run.folder.path.parent / f"seed-{run.seed}.log"


class _Going:
    """What the runs of this moment are at, as the stages in their logs say: a study takes hours."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def told(self) -> str:
        """Return the arm and the newest stage of each."""
        return ", ".join(f"{run.arm}: {_stage(run)}" for run in tuple(self.runs))


def _stage(run: Run) -> str:
    # warnings stand between, some of them of several lines
    stages = (_STAGE.match(line) for line in reversed(_log_lines(run)))
    return next((stage[0] for stage in stages if stage), "begins")


def _log_lines(run: Run) -> list[str]:
    path = _log_path(run)
    return path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.is_file() else []


def _last_line(run: Run) -> str:
    lines = _log_lines(run)
    return f"{lines[-1] if lines else 'no output'} (see {_log_path(run)})"
