"""`expo-bench thoughts`: a set of long-form thoughts from a published file, the micro world, or expert solutions."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def thoughts(
    source: Annotated[
        str, typer.Argument(metavar="FILE|micro|solutions", help="JSON lines or an array; the micro world's; experts'.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new set.")],
    benchmark: Annotated[
        str | None, typer.Option("-b", "--benchmark", help="Whose problems they are: ids, levels, gold answers.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the benchmark. [default: train]")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with benchmark files; as for eval.")] = None,
    dataset_revision: Annotated[str | None, typer.Option(help="Revision of the benchmark on the hub.")] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="Whose tokens are counted.")] = None,
    parent: Annotated[Path | None, typer.Option(help="A set that the new one extends.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with sections cleaning and selection.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Problems of micro and solutions at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides which are taken where any would do. [default: 0]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
) -> None:
    """Import long-form thoughts, clean and select them, and write them as a set that recipes learn from."""
    from expo_bench.config import load_settings
    from expo_bench.reports.thoughts_page import thoughts_page
    from expo_bench.thoughts.making import MakeSettings, make

    chosen: dict[str, Any] = {
        "source": source, "benchmark": benchmark, "split": split, "data_dir": data_dir,
        "dataset_revision": dataset_revision, "model": model, "limit": limit, "seed": seed,
    }  # fmt: skip
    given = {key: value for key, value in chosen.items() if value is not None}
    folder = make(load_settings(MakeSettings, config, given), out, parent)
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
