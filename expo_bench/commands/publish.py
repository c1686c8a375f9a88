"""`expo-bench publish`."""

from pathlib import Path
from typing import Annotated

import typer

from expo_bench.errors import UserError

EXAMPLE = "expo-bench publish results/run -o published"


def publish(
    source: Annotated[Path, typer.Argument(metavar="RUN|TRAINING", help="A finished run, or a training folder.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the files. [default: published/ in the run]")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="OWNER/NAME", help="A model of the hub; the token is HF_TOKEN's.")
    ] = None,
    pull_request: Annotated[bool, typer.Option("--pull-request", help="With --to: as a pull request.")] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of a training folder: the checkpoint whose weights go to the hub.")
    ] = None,
    with_: Annotated[
        list[Path] | None, typer.Option("--with", help="With --checkpoint: a file that goes along, such as a ledger.")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="With --checkpoint: the finished run that its card tells of.")
    ] = None,
    grader: Annotated[str | None, typer.Option(help="Whose verdicts. [default: ours]")] = None,
    organization: Annotated[str, typer.Option(help="Who evaluated, in Every Eval Ever.")] = "unknown",
) -> None:
    """Write a run's results as others read them, and bring them, or a trained checkpoint, to the hub.

    The files: .eval_results/ for the hub's model pages, a section of a model card, and Every Eval Ever with samples.
    Nothing leaves this machine without --to.
    """
    from expo_bench.grading.judge import GRADER
    from expo_bench.importing.publishing.publishing import checkpoint_files, hub_token, push, write
    from expo_bench.storage.run_folder import RunFolder

    if checkpoint is None and (source / "recipe.yaml").is_file():
        raise UserError(f"{source} is a training folder: name the checkpoint that goes to the hub with --checkpoint")
    if pull_request and to is None:
        raise UserError("--pull-request is one of a model of the hub: name it with --to")
    if checkpoint is not None and to is None:
        raise UserError("a checkpoint goes to the hub: name its repository with --to")
    if to is not None:
        hub_token(to)  # before anything is written
    run = evaluation if checkpoint is not None else source
    written = None
    if run is not None:
        folder = out or run / "published"
        written = write(RunFolder(run), folder, grader=grader or GRADER, organization=organization)
    files = dict(written.files) if written else {}
    if checkpoint is not None:
        files |= checkpoint_files(source, checkpoint, with_ or [])
    if to is not None:
        message = f"Weights and results by expo-bench: {source.name}" if checkpoint else "Evaluation by expo-bench"
        section = written.section if written else None
        typer.echo(push(to, files, section, message=message, as_pull_request=pull_request), err=True)
    for path in [*(written.files.values() if written else ()), *(written.others if written else ())]:
        typer.echo(str(path), err=True)
    typer.echo(str(out or (run / "published" if run else to)))
