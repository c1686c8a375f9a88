"""`expo-bench likelihood`."""

import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from expo_bench.commands.dry_runs import ProbeOption, check_probe, estimate, show
from expo_bench.commands.ending import stopped, terminated
from expo_bench.commands.options import takes_settings

EXAMPLE = "expo-bench likelihood results/candidates -m micro"


@takes_settings(
    "expo_bench.likelihood.pipeline:Policy", without=("model", "revision", "chat_template", "enable_thinking")
)
def likelihood(
    settings: dict[str, Any],
    run: Annotated[Path, typer.Argument(help="Run folder with candidates.")],
    models: Annotated[
        list[str], typer.Option("-m", "--model", help="A policy to score under; may be given again, as NAME@REVISION.")
    ],
    device: Annotated[str, typer.Option(help="A torch device, or auto.")] = "auto",
    retry_unscored: Annotated[
        bool, typer.Option("--retry-unscored", help="Try the candidates again that could not be scored.")
    ] = False,
    answers: Annotated[
        int, typer.Option(min=0, help="Short answers to draw and grade behind each chain, and without one.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what is left to score and its cost, and stop.")
    ] = False,
    probe: ProbeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as one JSON object.")] = False,
) -> None:
    """Score a run's candidates under policies that do not see the answer; print the two-property table.

    The same command again goes on where it was stopped.
    """
    from dataclasses import asdict

    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.grading.judge import GRADER
    from expo_bench.likelihood.pipeline import Policy, measure
    from expo_bench.reports import reporting
    from expo_bench.settings import load_settings
    from expo_bench.storage.run_folder import RunFolder

    check_probe(dry_run, probe)
    options = {} if device == "auto" else {"device": device}
    policies = [
        load_settings(Policy, None, {**settings, **_named(model), "engine_options": options}) for model in models
    ]
    if dry_run:
        _plan(run, policies, probe, answers, as_json)
        return
    signal.signal(signal.SIGTERM, terminated)
    try:
        with TerminalProgress() as progress:
            metrics = measure(RunFolder(run), policies, progress, retry_unscored=retry_unscored, answers=answers)
    except KeyboardInterrupt:
        stopped()
    page = reporting.report([RunFolder(run)], RunFolder(run).report_path, grader=GRADER)
    if as_json:
        typer.echo(json.dumps({"run": str(run), "metrics": [asdict(metric) for metric in metrics]}))
        return
    from rich.console import Console

    from expo_bench.reports.likelihood_table import likelihood_table

    for name in dict.fromkeys(policy.name for policy in policies):
        Console(stderr=True).print(likelihood_table(metrics, name))
    typer.echo(f"report: {page}", err=True)
    typer.echo(str(run))


def _named(model: str) -> dict[str, str]:
    """Return the model and the revision that NAME@REVISION gives; a folder or URL that holds an @ stays whole."""
    name, _, revision = (model, "", "") if Path(model).exists() or "://" in model else model.partition("@")
    return {"model": name, **({"revision": revision} if revision else {})}


def _plan(run: Path, policies: list[Any], probe: float | None, answers: int, as_json: bool) -> None:
    """Print what is left to score and to draw under each policy, and what it takes."""
    from dataclasses import asdict

    from expo_bench.costs.costs import likelihood_costs
    from expo_bench.storage.run_folder import RunFolder

    found = estimate(lambda progress: likelihood_costs(RunFolder(run), policies, probe, progress, answers=answers))
    if as_json:
        typer.echo(json.dumps({"run": str(run), **asdict(found)}))
        return
    show(found)
    typer.echo(str(run))
