"""`expo-bench study`: arms x seeds from one YAML file, and their learning curves."""

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expo_bench.commands.dry_runs import ProbeOption, check_probe, estimate, show
from expo_bench.commands.ending import stopped, terminated

if TYPE_CHECKING:
    from expo_bench.studies.stages import Outcome
    from expo_bench.studies.study import Run


def study(
    file: Annotated[Path, typer.Argument(help="YAML file with seeds, shared settings and arms.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the study. [default: results/ and the file's name]")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and their cost, and stop.")] = False,
    probe: ProbeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curves as one JSON object.")] = False,
) -> None:
    """Train and evaluate every arm with every seed, and compare their learning curves.

    The same command again goes on with what is not finished; arms and seeds may be added to the file.
    """
    check_probe(dry_run, probe)
    path = out or Path("results") / file.stem
    if dry_run:
        # before the hub's library is imported: a plan asks nobody
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        _print_plan(file, path, probe, as_json)
        return
    carry_out(file, path, file.stem, jobs, as_json)


def carry_out(file: Path, path: Path, title: str, jobs: int, as_json: bool) -> None:
    """Do what is left of the study of a file, and print what it found."""
    from dataclasses import asdict

    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.errors import UserError
    from expo_bench.studies.stages import run_study
    from expo_bench.studies.study import load_study

    chosen = load_study(file)
    signal.signal(signal.SIGTERM, terminated)
    try:
        with TerminalProgress() as progress:
            outcome = run_study(chosen, path, title, progress, jobs)
    except KeyboardInterrupt:
        stopped()
    if as_json:
        curves = [asdict(point) for point in outcome.points]
        typer.echo(json.dumps({"study": str(path), "curves": curves, "failed": outcome.failed}))
    else:
        _print_outcome(outcome)
        typer.echo(str(path))
    if outcome.failed:
        raise UserError(
            f"{len(outcome.failed)} runs failed, the first: {outcome.failed[0]}; the same command tries them again"
        )


def _print_plan(file: Path, path: Path, probe: float | None, as_json: bool) -> None:
    """Print the runs, and what the stages take that are left."""
    from dataclasses import asdict

    import torch

    from expo_bench.costs.studies import study_costs
    from expo_bench.studies.rates import FOLDER, rate_study
    from expo_bench.studies.study import check_arms, load_study, runs

    chosen = load_study(file)
    check_arms(chosen, path)
    listed = [*(runs(rate_study(chosen), path / FOLDER) if chosen.rates else []), *runs(chosen, path)]
    on_gpu = torch.cuda.is_available()
    found = estimate(lambda progress: study_costs(chosen, listed, path, probe, progress, on_gpu=on_gpu))
    if as_json:
        left = [f"{run.arm}, seed {run.seed}" for run in listed if not run.done]
        typer.echo(json.dumps({"study": str(path), "left": left, **asdict(found)}))
        return
    for run in listed:
        typer.echo(f"{run.arm}, seed {run.seed}: {_state(run)}", err=True)
    typer.echo(f"{sum(not run.done for run in listed)} of {len(listed)} runs are left", err=True)
    show(found)


def _state(run: "Run") -> str:
    from expo_bench.costs.estimate import most_drawn

    periods, own, explanations = most_drawn(run.recipe)
    most = periods * (own + explanations) * run.recipe.max_tokens
    return "finished" if run.done else f"{run.recipe.steps} steps, {most:,} generated tokens at most"


def _print_outcome(outcome: "Outcome") -> None:
    """Print what each arm solves at its last step, and what the ledger says of it."""
    from rich.console import Console

    from expo_bench.studies.report import study_table

    console = Console(stderr=True, highlight=False)
    console.print(study_table(outcome.points))
    for section in outcome.ledger.content["comparisons"] if outcome.ledger else []:
        typer.echo(section["verdict"]["sentence"], err=True)
    typer.echo(f"report: {outcome.page}", err=True)
