"""`expo-bench view`: the workbench over a folder of runs."""

from pathlib import Path
from typing import Annotated

import typer

from expo_bench.errors import UserError


def view(
    folder: Annotated[Path, typer.Argument(help="Folder of runs, or one run, training, study or ledger.")] = Path(
        "results"
    ),
    port: Annotated[int, typer.Option(help="Port; 0 takes any that is free.")] = 8040,
    host: Annotated[
        str, typer.Option(help="Address to listen on; elsewhere than on this machine a token guards the pages.")
    ] = "127.0.0.1",
    export: Annotated[
        Path | None, typer.Option(help="Write a site of files into this folder, to send as a link; nothing is served.")
    ] = None,
) -> None:
    """Look at runs while they are written, and at every sample, in a browser. Nothing is changed."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the one that holds your runs, for instance results")
    from expo_bench.evaluation.running import running_rate
    from expo_bench.reports.workbench.pages_of import Pages
    from expo_bench.reports.workbench.server import serve
    from expo_bench.reports.workbench.shelf import Shelf

    if export is not None:
        from expo_bench.reports.workbench.site import write_site

        count = write_site(folder, export, running_rate, lambda name: typer.echo(name, err=True))
        typer.echo(f"{count:,} pages: {export / 'index.html'}", err=True)
        typer.echo(str(export))
        return
    serve(Pages(Shelf(folder, running_rate)), host, port, lambda address: typer.echo(f"{address}  (ctrl-C ends it)"))
