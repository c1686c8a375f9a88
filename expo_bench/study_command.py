"""`expo-bench study`: arms x seeds from one YAML file, and their learning curves."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expo_bench.options import stopped, terminated

if TYPE_CHECKING:
    from expo_bench.learning_curves import Point
    from expo_bench.studies import Run


def study(
    file: Annotated[Path, typer.Argument(help="YAML file with seeds, shared settings and arms.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the study. [default: results/ and the file's name]")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and their cost, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curves as one JSON object.")] = False,
) -> None:
    """Train and evaluate every arm with every seed, and compare their learning curves.

    The same command again goes on with what is not finished; arms and seeds may be added to the file.
    """
    from dataclasses import asdict

    from expo_bench.compare import write
    from expo_bench.errors import UserError
    from expo_bench.learning_curves import learning_curves
    from expo_bench.progress import TerminalProgress
    from expo_bench.reports.ledger_page import ledger_page
    from expo_bench.store import write_atomically
    from expo_bench.studies import load_study, runs, train_all
    from expo_bench.study_ledger import study_ledger
    from expo_bench.study_report import study_report

    path = out or Path("results") / file.stem
    chosen = load_study(file)
    if dry_run:
        _print_runs(runs(chosen, path))
        return
    signal.signal(signal.SIGTERM, terminated)
    try:
        with TerminalProgress() as progress:
            failed = train_all(chosen, path, progress, jobs)
    except KeyboardInterrupt:
        stopped()
    finished = [run for run in runs(chosen, path) if run.done]
    points = learning_curves(finished)
    curves = [asdict(point) for point in points]
    write_atomically(path / "curves.json", json.dumps(curves, indent=1))
    ledger = study_ledger(finished)
    if ledger:
        write(ledger, path / "ledger")
        ledger_page(ledger.content, path / "ledger" / "report.html")
    page = study_report(finished, points, path / "report.html", file.stem, ledger.content if ledger else None)
    if as_json:
        typer.echo(json.dumps({"study": str(path), "curves": curves, "failed": failed}))
    else:
        _print_last(points)
        typer.echo(f"report: {page}", err=True)
        typer.echo(str(path))
    if failed:
        raise UserError(f"{len(failed)} runs failed, the first: {failed[0]}; the same command tries them again")


def _print_runs(listed: "list[Run]") -> None:
    waiting = [run for run in listed if not run.done]
    for run in listed:
        recipe = run.recipe
        per_problem = recipe.num_generations + (recipe.expo.per_problem if recipe.explains else 0)
        most = recipe.steps * recipe.prompts_per_step * per_problem * recipe.max_tokens
        state = "finished" if run.done else f"{recipe.steps} steps, {most:,} generated tokens at most"
        typer.echo(f"{run.arm}, seed {run.seed}: {state}", err=True)
    typer.echo(f"{len(waiting)} of {len(listed)} runs are left", err=True)


def _print_last(points: "list[Point]") -> None:
    """Print what each arm solves at its last step."""
    from rich.console import Console
    from rich.table import Table

    table = Table("arm", "step", "metric", "mean of seeds [95% interval]", "seeds", "generated tokens")
    last = {point.arm: point.step for point in points}
    for point in points:
        if point.step == last[point.arm] and point.level is None and point.ci_low is not None:
            interval = f"{point.value:.1%} [{point.ci_low:.1%}, {point.ci_high:.1%}]"
            seeds = ", ".join(f"{value:.1%}" for value in point.per_seed)
            table.add_row(point.arm, str(point.step), point.metric, interval, seeds, f"{point.generated_tokens:,.0f}")
    Console(stderr=True, width=120).print(table)
