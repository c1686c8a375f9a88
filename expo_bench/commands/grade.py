"""`expo-bench grade`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expo_bench.commands.eval import print_metrics
from expo_bench.commands.options import takes_settings
from expo_bench.errors import UserError

if TYPE_CHECKING:
    from expo_bench.grading.misread import Misread

    pass


@takes_settings("expo_bench.settings:ReadingSettings")
def grade(
    settings: dict[str, Any],
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-|RUN",
            help='Rows with "answer" and "text" or as --map says, - for standard input, or a run folder.',
        ),
    ],
    name: Annotated[str | None, typer.Option("--as", help="For a run folder: name of the new grades file.")] = None,
    graders: Annotated[
        str | None,
        typer.Option(
            help="For a run folder: several side by side, of expo-bench-2,math-verify-plain,hendrycks-string."
        ),
    ] = None,
) -> None:
    """Grade anyone's completions, a verdict a line; or grade a run folder's samples again, beside the old grades."""
    from expo_bench.grading.misread import Misread
    from expo_bench.grading.stage import grade_lines

    if source != "-" and Path(source).is_dir():
        regrade(Path(source), chosen_graders(name, graders))
        return
    if graders is not None:
        raise UserError("--graders is for a run folder; the verdicts of a file go to standard output")
    if name is not None:
        raise UserError("--as names the grades of a run folder; the verdicts of a file go to standard output")
    if source != "-" and not Path(source).is_file():
        raise UserError(f"{source} does not exist")
    if settings:
        _grade_declared(source, settings)
        return
    told = Misread()
    with sys.stdin.buffer if source == "-" else Path(source).open("rb") as lines:
        n = 0
        try:
            for verdict in grade_lines(lines, told=told):
                _print(verdict)
                n += 1
        except UserError as error:
            raise UserError(f"{source}, {error}") from error
    if not n:
        raise UserError(f"{source} holds no rows: an object with answer and text on each line is wanted")
    _tell(told)


def _grade_declared(source: str, settings: dict[str, Any]) -> None:
    """Grade a file of any shape: a verdict a completion, and how far the file's own agree."""
    from expo_bench.grading.misread import Misread
    from expo_bench.grading.stage import grade_lines
    from expo_bench.importing.mapped import attempts
    from expo_bench.problems import Reading
    from expo_bench.settings import ReadingSettings, load_settings

    if source == "-":
        raise UserError("a mapping goes with a file: standard input takes rows with answer and text")
    reading = Reading(**load_settings(ReadingSettings, None, settings).reading())
    agreed = n = 0
    told = Misread()
    for verdict in grade_lines((json.dumps(one) for one in attempts(Path(source), reading)), told=told):
        own = verdict.get("score")
        n += own is not None
        agreed += own is not None and own == bool(verdict["correct"])
        _print(verdict)
    if n:
        typer.echo(f"the file's own score agrees on {agreed} of {n}", err=True)
    _tell(told)


def _tell(told: "Misread") -> None:
    """Say what was not understood of a file."""
    for text, examples in told.lines():
        typer.echo("\n  ".join([text, *examples]), err=True)


def _print(verdict: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(verdict, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def chosen_graders(name: str | None, graders: str | None) -> list[str]:
    """Return whose verdicts are wanted; the first one's metrics are shown."""
    from expo_bench.grading.judge import GRADER
    from expo_bench.grading.rivals import RIVALS

    if graders is None:
        return [name or GRADER]
    if name is not None:
        raise UserError("--as and --graders exclude each other")
    known = (GRADER, *RIVALS)
    chosen = list(dict.fromkeys(part.strip() for part in graders.split(",")))
    unknown = [one for one in chosen if one not in known]
    if unknown:
        raise UserError(f"--graders: no grader {unknown[0]!r}; there are {', '.join(known)}")
    return chosen


def regrade(path: Path, graders: list[str], as_json: bool = False) -> None:
    """Grade a run folder by each grader, write the page with the first one's metrics, and print these."""
    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.evaluation import metrics
    from expo_bench.evaluation.progress import counting
    from expo_bench.grading.disagreement import disagreements
    from expo_bench.grading.misread import misread
    from expo_bench.grading.stage import grade
    from expo_bench.reports import reporting
    from expo_bench.storage.run_folder import RunFolder

    run = RunFolder(path)
    manifest = run.read_manifest()
    first = graders[0]
    with run.lock(), TerminalProgress() as progress:
        for grader in graders:
            total = manifest.counts.get("samples", 0)
            grade(run, grader=grader, on_grade=counting(progress, total, f"grading by {grader}"))
        if not_understood := misread(run, first):
            for text, examples in not_understood.lines():
                progress.note("\n  ".join([text, *examples]))
        if len(graders) > 1:
            for one in disagreements(run, first):
                progress.note(one.text())
    for grader in reversed(graders):
        found = metrics.compute(run, grader=grader)
        run.write_metrics(found)
    reporting.report([run], run.report_path, grader=first)
    print_metrics(found, path, as_json)
