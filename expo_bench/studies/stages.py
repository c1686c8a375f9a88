"""All stages of a study: candidates and their likelihoods, training with evaluations, ledger, page."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from expo_bench.errors import UserError
from expo_bench.evaluation.planning import plan
from expo_bench.evaluation.progress import Progress
from expo_bench.ledger.compare import Ledger, write
from expo_bench.likelihood.pipeline import Policy, make_candidates, measure
from expo_bench.reports.ledger_page import ledger_page
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder
from expo_bench.studies.learning_curves import Point, learning_curves
from expo_bench.studies.ledger import study_ledger
from expo_bench.studies.rates import with_rates
from expo_bench.studies.report import study_report
from expo_bench.studies.study import Study, candidates_config, check_arms, runs, train_all
from expo_bench.studies.tables import arms
from expo_bench.trainers.checks import check_packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a study has found so far."""

    points: list[Point]
    ledger: Ledger | None
    """None where nothing was evaluated."""
    page: Path
    failed: list[str]
    """A line for each run that failed."""


def run_study(study: Study, path: Path, title: str, progress: Progress, jobs: int) -> Outcome:
    """Do what is left of a study, and write curves.json, the ledger and report.html from all that is finished.

    Args:
        study: arms, seeds and, where it has any, settings of candidates.
        path: the study's folder.
        title: of the page.
        progress: told of what goes on.
        jobs: runs at the same time.

    Raises:
        UserError: bad input, packages that are missing, or not a single run came to its end.
    """
    check_packages()
    check_arms(study, path)
    candidates = _candidates(study, path, progress)
    failed: list[str] = []
    if study.rates:
        study, failed = with_rates(study, path, progress, jobs)
    failed += train_all(study, path, progress, jobs)
    finished = [run for run in runs(study, path) if run.done]
    if not finished:
        raise UserError(failed[0])
    # with hundreds of runs each of the four takes a minute or more
    made = progress.start("curves, ledger and pages", 4, 0)
    points = learning_curves(finished)
    made(0)
    write_atomically(path / "curves.json", json.dumps([asdict(point) for point in points], indent=1))
    if not arms(points):
        raise UserError(
            f"no checkpoint of {path} is evaluated yet: run what the evaluations.sh of its runs list, and the same "
            "command makes the page; an arm without a section `evaluation` has no place in it"
        )
    ledger = study_ledger(finished)
    made(0)
    if ledger:
        write(ledger, path / "ledger")
        ledger_page(ledger.content, path / "ledger" / "report.html")
    made(0)
    page = study_report(
        finished, points, path / "report.html", title, ledger.content if ledger else None, candidates=candidates
    )
    made(0)
    return Outcome(points=points, ledger=ledger, page=page, failed=failed)


def _candidates(study: Study, path: Path, progress: Progress) -> RunFolder | None:
    """Draw the base's candidate positives and score them under it; nothing where that was done before."""
    config = candidates_config(study)
    if config is None:
        return None
    planned = plan(config, path / "candidates")
    run = planned.run
    if not (run.manifest_path.is_file() and run.read_manifest().status == "finished"):
        make_candidates(planned, progress)
    if not run.likelihood_metrics_path.is_file():
        measure(run, [Policy(model=config.model, revision=config.revision, dtype=config.dtype)], progress)
    return run
