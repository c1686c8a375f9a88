"""`expo-bench report`."""

from pathlib import Path
from typing import Annotated

import typer

from expo_bench.errors import UserError


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or one training.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="HTML file. [default: report.html of a single run]")
    ] = None,
    grader: Annotated[str | None, typer.Option(help="Whose grades.")] = None,
) -> None:
    """Write one self-contained HTML report over one or several runs, on a training, or on a set of thoughts."""
    from expo_bench.grading.judge import GRADER
    from expo_bench.reports import reporting
    from expo_bench.reports.run_views import notes, read_runs
    from expo_bench.storage.run_folder import RunFolder
    from expo_bench.thoughts.dataset import ThoughtFolder

    if out is None and len(runs) > 1:
        raise UserError("several runs: name the report's file with -o")
    if len(runs) == 1 and ThoughtFolder(runs[0]).is_complete:
        from expo_bench.reports.thoughts_page import thoughts_page

        typer.echo(str(thoughts_page(ThoughtFolder(runs[0]))))
        return
    if len(runs) == 1 and (runs[0] / "recipe.yaml").is_file():
        from expo_bench.reports.training_page import training_page

        typer.echo(str(training_page(runs[0], out or runs[0] / "report.html")))
        return
    folders = [RunFolder(path) for path in runs]
    page = reporting.report(folders, out or runs[0] / "report.html", grader=grader or GRADER)
    evaluated = [folder for folder in folders if folder.metrics_path.is_file()]
    for note in notes(read_runs(evaluated, grader or GRADER)) if evaluated else ():
        typer.echo("\n  ".join([note.text, *note.items]), err=True)
    typer.echo(str(page))
