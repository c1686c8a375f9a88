"""`expo-bench import`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from expo_bench.commands.options import takes_settings

EXAMPLE = "expo-bench import samples.jsonl -o results/theirs --map text='outputs[*].response'"


@takes_settings("expo_bench.settings:ReadingSettings")
def import_(
    settings: dict[str, Any],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Samples of lm-eval, lighteval, inspect, or of any tool; also OWNER/NAME of the hub; docs/import.md.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new run folder.")],
    benchmark: Annotated[
        str | None, typer.Option(help="Benchmark of all files. [default: told by the task's name]")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the benchmark: samples of training are of train.")] = "test",
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="The policy's name. [default: told by the file or its folder]")
    ] = None,
    format: Annotated[
        str, typer.Option(help="lm-eval, lighteval, mapping, or auto to go by the fields of the first row.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as one JSON object.")] = False,
) -> None:
    """Make a run folder of samples that somebody else drew, and grade them with the grader of expo-bench.

    Several files are several tasks, or seeds of a task. Where the files have a verdict of their own, it is printed how
    far ours agree with it.
    """
    from dataclasses import asdict

    from rich.console import Console

    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.evaluation import metrics
    from expo_bench.evaluation.progress import counting
    from expo_bench.grading import stage as grading
    from expo_bench.grading.judge import GRADER
    from expo_bench.importing.agreement import agreement, unanswered
    from expo_bench.importing.importing import import_run
    from expo_bench.problems import Reading
    from expo_bench.reports import reporting
    from expo_bench.settings import ReadingSettings, load_settings
    from expo_bench.storage.run_folder import RunFolder

    run = RunFolder(out)
    reading = Reading(**load_settings(ReadingSettings, None, settings).reading())
    with TerminalProgress() as progress:
        manifest = import_run(
            files,
            run,
            benchmark=benchmark,
            format=format,
            reading=reading,
            model=model,
            split=split,
            note=progress.note,
        )
    with run.lock(), TerminalProgress() as progress:
        grading.grade(run, on_grade=counting(progress, manifest.counts["samples"]))
    found = metrics.compute(run, grader=GRADER)
    run.write_metrics(found)
    reporting.report([run], run.report_path, grader=GRADER)
    agreed = agreement(run, GRADER)
    warning = unanswered(run, GRADER)
    if as_json:
        told = {"run": str(out), "metrics": [asdict(metric) for metric in found]}
        typer.echo(json.dumps({**told, "agreement": agreed and asdict(agreed)}))
        return
    Console(stderr=True).print(reporting.table(found, title=out.name))
    if agreed is not None:
        typer.echo("\n  ".join([agreed.line(), *agreed.differing]), err=True)
    if warning is not None:
        typer.echo(warning, err=True)
    typer.echo(f"report: {run.report_path}", err=True)
    typer.echo(str(out))
