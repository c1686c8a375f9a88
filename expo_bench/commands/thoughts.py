"""`expo-bench thoughts`: a set of long-form thoughts from a published file, the micro world, or expert solutions."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from expo_bench.commands.options import takes_settings


@takes_settings(
    "expo_bench.thoughts.making:MakeSettings", names={"benchmark": ("-b", "--benchmark")}, without=("source",)
)
def thoughts(
    settings: dict[str, Any],
    source: Annotated[
        str, typer.Argument(metavar="FILE|micro|solutions", help="JSON lines or an array; the micro world's; experts'.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new set.")],
    parent: Annotated[Path | None, typer.Option(help="A set that the new one extends.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with sections cleaning and selection.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
) -> None:
    """Import long-form thoughts, clean and select them, and write them as a set that recipes learn from."""
    from expo_bench.reports.thoughts_page import thoughts_page
    from expo_bench.settings import load_settings
    from expo_bench.thoughts.making import MakeSettings, make

    folder = make(load_settings(MakeSettings, config, {**settings, "source": source}), out, parent)
    page = thoughts_page(folder)
    manifest = folder.manifest()
    if as_json:
        typer.echo(json.dumps({"set": str(out), "counts": manifest["counts"], "left_out": manifest["left_out"]}))
        return
    for reason, count in manifest["left_out"].items():
        typer.echo(f"left out, {reason}: {count}", err=True)
    counts = manifest["counts"]
    typer.echo(f"{counts['thoughts']} thoughts on {counts['problems']} problems; report: {page}", err=True)
    typer.echo(str(out))
