"""`expo-bench import`."""

import json
from pathlib import Path
from typing import Annotated

import typer


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="lm-eval samples_*.jsonl, or lighteval details_*.parquet."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new run folder.")],
    benchmark: Annotated[
        str | None, typer.Option(help="Benchmark of all files. [default: told by the task's name]")
    ] = None,
    format: Annotated[str, typer.Option(help="lm-eval, lighteval, or auto to go by the file's ending.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as one JSON object.")] = False,
) -> None:
    """Make a run folder of samples that another harness drew, and grade them with the grader of expo-bench.

    Several files are several tasks, or seeds of a task.
    """
    from dataclasses import asdict

    from rich.console import Console

    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.evaluation import metrics
    from expo_bench.grading import stage as grading
    from expo_bench.grading.judge import GRADER
    from expo_bench.importing.importing import import_run
    from expo_bench.reports import reporting
    from expo_bench.storage.run_folder import RunFolder

    run = RunFolder(out)
    manifest = import_run(files, run, benchmark=benchmark, format=format)
    with run.lock(), TerminalProgress() as progress:
        advance = progress.start("grading", manifest.counts["samples"], 0)
        grading.grade(run, progress=lambda _done, _total: advance(0))
    found = metrics.compute(run, grader=GRADER)
    run.write_metrics(found)
    reporting.report([run], run.report_path, grader=GRADER)
    if as_json:
        typer.echo(json.dumps({"run": str(out), "metrics": [asdict(metric) for metric in found]}))
        return
    Console(stderr=True).print(reporting.table(found, title=out.name))
    typer.echo(f"report: {run.report_path}", err=True)
    typer.echo(str(out))
