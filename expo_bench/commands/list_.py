"""`expo-bench list`."""

import typer


def list_() -> None:
    """List the benchmarks with their sizes, the prompts, the engines, and the presets by which files are read."""
    from expo_bench.problems import BENCHMARKS
    from expo_bench.problems.reading.presets import presets
    from expo_bench.prompts import SOLVE_PROMPTS

    typer.echo(f"benchmarks: {', '.join(BENCHMARKS)}")
    typer.echo(f"prompts: {', '.join(SOLVE_PROMPTS)}")
    typer.echo("engines: auto, transformers, vllm, server")
    typer.echo("presets, for -b, import, train and thoughts (* needs no --preset where a file is unmistakable):")
    for preset in presets().values():
        typer.echo(f"  {preset.name}{'*' if preset.marks else ''}: {preset.about}")
