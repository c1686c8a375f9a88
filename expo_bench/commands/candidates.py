"""`expo-bench candidates`."""

import json
import signal
from typing import Annotated, Any

import typer

from expo_bench.commands.dry_runs import ProbeOption, check_probe, print_plan
from expo_bench.commands.ending import stopped, terminated
from expo_bench.commands.options import ConfigOption, DryRunOption, OutOption, OverridesArgument, takes_settings

EXAMPLE = "expo-bench candidates -m micro -b micro --levels 4,5 --limit 20"


@takes_settings(
    "expo_bench.config:CandidatesConfig",
    names={"n": ("--n-own",), "imported": ("--import",)},
    without=("choice_seed", "thinking_tokens", "ks", "compress", "redraw_errors", "max_cost"),
)
def candidates(
    settings: dict[str, Any],
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    probe: ProbeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts and filters as one JSON object.")] = False,
) -> None:
    """Collect chains of thought for each problem: the expert's, the policy's own, its explanations of the answer.

    The same command again goes on where a run was stopped.
    """
    from expo_bench.config import load_candidates_config
    from expo_bench.evaluation.planning import plan

    check_probe(dry_run, probe)
    planned = plan(load_candidates_config(config, settings, overrides or []), out)
    if dry_run:
        print_plan(planned, probe, as_json)
        return
    _make(planned, as_json)


def _make(planned: Any, as_json: bool) -> None:
    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.likelihood.candidates import filters
    from expo_bench.likelihood.pipeline import make_candidates

    signal.signal(signal.SIGTERM, terminated)
    run = planned.run
    try:
        with TerminalProgress() as progress:
            left_out = make_candidates(planned, progress)
    except KeyboardInterrupt:
        stopped()
    found = filters(run.candidates())
    if as_json:
        typer.echo(json.dumps({"run": str(run.path), "sources": found, "left_out": left_out}))
        return
    for source, counts in found.items():
        flags = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if name != "candidates")
        typer.echo(f"{source}: {counts['candidates']} candidates; {flags}", err=True)
    for reason, count in left_out.items():
        typer.echo(f"left out, {reason}: {count}", err=True)
    typer.echo(str(run.path))
