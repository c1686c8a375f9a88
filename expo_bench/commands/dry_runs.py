"""What the commands share of --dry-run: the option of a probe, and how an estimate is shown."""

import json
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from expo_bench.commands.ending import end_quietly, terminated
from expo_bench.errors import UserError

if TYPE_CHECKING:
    from expo_bench.costs.costs import Estimate
    from expo_bench.evaluation.planning import Plan
    from expo_bench.evaluation.progress import Progress
    from expo_bench.stats import Floats

ProbeOption = Annotated[
    float | None,
    typer.Option(
        "--probe", min=0.1, metavar="SECONDS", help="With --dry-run: measure for about so long how fast it would go."
    ),
]


def check_probe(dry_run: bool, probe: float | None) -> None:
    """See that nobody asks for a probe of a run that is not planned but done.

    Raises:
        UserError: somebody does.
    """
    if probe is not None and not dry_run:
        raise UserError("--probe measures what a run would take, and goes with --dry-run: add that, or take it out")


def estimate(reckon: "Callable[[Progress], Estimate]") -> "Estimate":
    """Return what `reckon` finds; it is handed the progress that a probe is shown by."""
    from expo_bench.commands.progress import TerminalProgress

    signal.signal(signal.SIGTERM, terminated)
    try:
        with TerminalProgress() as progress:
            return reckon(progress)
    except KeyboardInterrupt:
        end_quietly()
        typer.echo("\nstopped; a probe writes nothing", err=True)
        raise typer.Exit(130) from None


def show(found: "Estimate") -> None:
    """Print the table of an estimate, and how it was found, to standard error."""
    from rich.console import Console

    from expo_bench.costs.costs import table

    if found.costs:
        Console(stderr=True, highlight=False).print(table(found))
    for note in found.notes:
        typer.echo(note, err=True)


def print_plan(planned: "Plan", probe: float | None, as_json: bool) -> None:
    """Print the settings of an evaluation or a run of candidates and what is left to take of it; YAML, or JSON."""
    from dataclasses import asdict

    from expo_bench.costs.costs import run_costs
    from expo_bench.engines.loading import find_model
    from expo_bench.evaluation.planning import warnings
    from expo_bench.settings import to_yaml

    if planned.engine != "server":
        find_model(planned.config.model)
    found = estimate(lambda progress: run_costs(planned, probe, progress))
    if as_json:
        settings = planned.config.model_dump(mode="json")
        plan = {"run": str(planned.run.path), "config": settings, "engine": planned.engine}
        typer.echo(json.dumps({**plan, "problems": len(planned.problems), **asdict(found)}))
        return
    show(found)
    for warning in warnings(planned):
        typer.echo(warning, err=True)
    typer.echo(to_yaml(planned.config).rstrip())
    typer.echo(f"# engine: {planned.engine}")
    typer.echo(f"# problems: {len(planned.problems)}")
    left = sum(cost.count or 0 for cost in found.costs if cost.most_tokens is not None)
    typer.echo(f"# generations: {left} to do{_done(planned)}")
    typer.echo(f"# tokens: at most {sum(cost.most_tokens or 0 for cost in found.costs):,}")
    from expo_bench.ledger.power import difficulty

    if told := shows(difficulty(1 / 3, 1.5), len(planned.problems), planned.config.n):
        typer.echo(f"# a second run shows {told} (plan)")
    typer.echo(str(planned.run.path))


def shows(rates: "Floats", problems: int, n: int) -> str:
    """Say what difference two runs of such problems show; nothing of a single problem."""
    from expo_bench.ledger.power import least_rise

    if problems < 2:
        return ""
    these, like_these = (
        "out of reach" if rise != rise else f"{100 * rise:.1f} points" for rise in least_rise(rates, problems, n)
    )
    return f"a rise of pass@1 of {these} on these problems, {like_these} on problems like these"


def _done(planned: "Plan") -> str:
    from expo_bench.config import CandidatesConfig

    if isinstance(planned.config, CandidatesConfig):
        return ""
    total = len(planned.problems) * planned.config.n
    return f", {total - planned.n_missing} done, {total} in all"
