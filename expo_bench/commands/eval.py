"""`expo-bench eval`."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expo_bench.commands import dry_runs
from expo_bench.commands.ending import end_quietly, terminated
from expo_bench.commands.options import ConfigOption, DryRunOption, OutOption, OverridesArgument, takes_settings
from expo_bench.errors import UserError

if TYPE_CHECKING:
    from expo_bench.evaluation.planning import Plan
    from expo_bench.rows import Metric

EXAMPLE = "expo-bench eval -m micro -b micro -n 16"


@takes_settings("expo_bench.config:EvalConfig", without=("choice_seed",))
def evaluate(
    settings: dict[str, Any],
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    probe: dry_runs.ProbeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as one JSON object.")] = False,
    graders: Annotated[
        str | None, typer.Option(help="Several side by side, of expo-bench-2,math-verify-plain,hendrycks-string.")
    ] = None,
) -> None:
    """Sample, grade and report: pass@k of MODEL on BENCHMARKS.

    The same command again, or --resume, goes on where a run was stopped.
    """
    from expo_bench.commands.grade import chosen_graders
    from expo_bench.config import EvalConfig, load_config
    from expo_bench.evaluation.planning import plan, resume_config

    dry_runs.check_probe(dry_run, probe)
    names = chosen_graders(None, graders)
    if resume is not None:
        if set(settings) - {"redraw_errors"} or overrides or config or out:
            raise UserError("--resume takes the run's own settings: give no others than --redraw-errors beside it")
        planned = plan(resume_config(resume, EvalConfig).model_copy(update=settings), resume)
    else:
        planned = plan(load_config(config, settings, overrides or []), out)
    if dry_run:
        dry_runs.print_plan(planned, probe, as_json)
        return
    _run(planned, as_json, names)


def _run(planned: "Plan", as_json: bool, graders: list[str]) -> None:
    from expo_bench.commands.grade import regrade
    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.evaluation.pipeline import evaluate as run_stages

    signal.signal(signal.SIGTERM, terminated)
    try:
        with TerminalProgress() as progress:
            found = run_stages(planned, progress)
    except KeyboardInterrupt:
        end_quietly()
        typer.echo(
            f"\nstopped; what was done is saved. Go on with: expo-bench eval --resume {planned.run.path}", err=True
        )
        raise typer.Exit(130) from None
    if len(graders) > 1:
        regrade(planned.run.path, graders, as_json)
    else:
        print_metrics(found, planned.run.path, as_json)


def print_metrics(found: "list[Metric]", run: Path, as_json: bool) -> None:
    """Print the metrics of a run, and where its report lies."""
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps({"run": str(run), "metrics": [asdict(metric) for metric in found]}))
        return
    from rich.console import Console

    from expo_bench.reports.reporting import table

    Console(stderr=True).print(table(found, title=run.name))
    typer.echo(f"report: {run / 'report.html'}", err=True)
    typer.echo(str(run))
