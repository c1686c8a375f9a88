"""`expo-bench candidates` and `expo-bench likelihood`."""

import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from expo_bench.commands.dry_runs import ProbeOption, check_probe, estimate, print_plan, show
from expo_bench.commands.options import RayAddressOption, ReplicasOption, names, numbers, stopped, terminated
from expo_bench.errors import UserError


def candidates(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting of the config file.")
    ] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="The policy; as for eval.")] = None,
    benchmarks: Annotated[
        str | None, typer.Option("-b", "--benchmarks", help="Names or JSON-lines files, with commas between.")
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(
            help="expert, self_explanation, own, rationalised, imported. [default: expert,self_explanation,own]"
        ),
    ] = None,
    per_source: Annotated[int | None, typer.Option(help="Self-explanations a problem. [default: 2]")] = None,
    n_own: Annotated[int | None, typer.Option(help="The policy's own samples a problem. [default: 4]")] = None,
    samples: Annotated[Path | None, typer.Option(help="Take own samples and their grades from this run.")] = None,
    imported: Annotated[
        Path | None, typer.Option("--import", help='JSON lines with "text" and "problem_id" or "question".')
    ] = None,
    engine: Annotated[str | None, typer.Option(help="auto, transformers, vllm or server. [default: auto]")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, bfloat16, float16 or float32. [default: auto]")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the model on the hub.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the benchmark. [default: test]")] = None,
    levels: Annotated[str | None, typer.Option(help="Only these levels, for instance 4,5.")] = None,
    limit: Annotated[int | None, typer.Option(help="Problems of each benchmark at most.")] = None,
    shuffle_seed: Annotated[int | None, typer.Option(help="Shuffle before the limit.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with benchmark files; as for eval.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The solve prompt; as for eval. [default: boxed]")] = None,
    explain_prompt: Annotated[
        str | None, typer.Option(help="self-explain, or a text file with {question} and {answer}.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="[default: 1.0]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="[default: 2048]")] = None,
    seed: Annotated[int | None, typer.Option(help="[default: 0]")] = None,
    replicas: ReplicasOption = None,
    ray_address: RayAddressOption = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with any of these settings.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run folder. [default: a name under results/]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and stop.")] = False,
    probe: ProbeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts and filters as one JSON object.")] = False,
) -> None:
    """Collect chains of thought for each problem: the expert's, the policy's own, its explanations of the answer.

    The same command again goes on where a run was stopped.
    """
    from expo_bench.config import load_candidates_config
    from expo_bench.evaluation.planning import plan

    check_probe(dry_run, probe)
    given = {
        "model": model, "n": n_own, "per_source": per_source, "samples": samples, "imported": imported,
        "engine": engine, "dtype": dtype, "revision": revision, "split": split, "limit": limit, "data_dir": data_dir,
        "shuffle_seed": shuffle_seed, "prompt": prompt, "explain_prompt": explain_prompt, "temperature": temperature,
        "max_tokens": max_tokens, "seed": seed, "sources": names(sources), "benchmarks": names(benchmarks),
        "levels": numbers("--levels", levels), "replicas": replicas, "ray_address": ray_address,
    }  # fmt: skip
    settings = {key: value for key, value in given.items() if value is not None}
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


def likelihood(
    run: Annotated[Path, typer.Argument(help="Run folder with candidates.")],
    models: Annotated[
        list[str], typer.Option("-m", "--model", help="A policy to score under; may be given again, as NAME@REVISION.")
    ],
    engine: Annotated[str, typer.Option(help="auto, transformers, vllm or server.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto",
    device: Annotated[str, typer.Option(help="A torch device, or auto.")] = "auto",
    replicas: ReplicasOption = None,
    ray_address: RayAddressOption = None,
    retry_unscored: Annotated[
        bool, typer.Option("--retry-unscored", help="Try the candidates again that could not be scored.")
    ] = False,
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
    from expo_bench.storage.run_folder import RunFolder

    check_probe(dry_run, probe)
    if ray_address is not None and replicas is None:
        raise UserError("a Ray cluster is used for replicas: set their number too (--replicas)")
    policies = []
    for model in models:
        name, _, revision = (model, "", "") if Path(model).exists() or "://" in model else model.partition("@")
        policies.append(
            Policy(
                model=name,
                engine=engine,
                revision=revision or None,
                dtype=dtype,
                options={} if device == "auto" else {"device": device},
                replicas=replicas,
                ray_address=ray_address,
            )
        )
    if dry_run:
        _plan(run, policies, probe, as_json)
        return
    signal.signal(signal.SIGTERM, terminated)
    try:
        with TerminalProgress() as progress:
            metrics = measure(RunFolder(run), policies, progress, retry_unscored=retry_unscored)
    except KeyboardInterrupt:
        stopped()
    page = reporting.report([RunFolder(run)], RunFolder(run).report_path, grader=GRADER)
    if as_json:
        typer.echo(json.dumps({"run": str(run), "metrics": [asdict(metric) for metric in metrics]}))
        return
    from rich.console import Console

    from expo_bench.likelihood.two_property import table

    for name in dict.fromkeys(policy.name for policy in policies):
        Console(stderr=True).print(table(metrics, name))
    typer.echo(f"report: {page}", err=True)
    typer.echo(str(run))


def _plan(run: Path, policies: list[Any], probe: float | None, as_json: bool) -> None:
    """Print what is left to score under each policy, and what it takes."""
    from dataclasses import asdict

    from expo_bench.costs.costs import likelihood_costs
    from expo_bench.storage.run_folder import RunFolder

    found = estimate(lambda progress: likelihood_costs(RunFolder(run), policies, probe, progress))
    if as_json:
        typer.echo(json.dumps({"run": str(run), **asdict(found)}))
        return
    show(found)
    typer.echo(str(run))
