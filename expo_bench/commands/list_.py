"""`expo-bench list`."""

import typer


def list_() -> None:
    """List the benchmarks with their sizes, the prompts, the engines, presets by which files are read, and methods."""
    from expo_bench.config import EvalConfig
    from expo_bench.problems import BENCHMARKS, published
    from expo_bench.problems.loading import GROUPS
    from expo_bench.problems.reading.presets import presets
    from expo_bench.prompts import SOLVE_PROMPTS
    from expo_bench.trainers.methods.finding import find_method, method_names

    default = EvalConfig.model_fields["max_tokens"].default
    typer.echo(f"benchmarks: {', '.join(BENCHMARKS)}")
    for group, names in GROUPS.items():
        typer.echo(f"group {group}: {', '.join(names)}")
    typer.echo("of these (problems by split; licence; prompt, tokens of a completion: as in papers, and the defaults):")
    for one in filter(None, map(published, BENCHMARKS)):
        sizes = ", ".join(f"{split} {size:,}" for split, size in one.counts.items())
        tokens = one.max_tokens or default
        typer.echo(f"  {one.name}: {one.title}; {sizes}; {one.licence}; {one.prompt}, {tokens:,} tokens")
    typer.echo(f"prompts: {', '.join(SOLVE_PROMPTS)}")
    typer.echo("engines: auto, transformers, vllm, server")
    typer.echo("presets, for -b, import, train and thoughts (* needs no --preset where a file is unmistakable):")
    for preset in presets().values():
        typer.echo(f"  {preset.name}{'*' if preset.marks else ''}: {preset.about}")
    typer.echo("methods, for train:")
    width = max(map(len, method_names()))
    for name in method_names():
        typer.echo(f"  {name:<{width}}  {find_method(name).summary()}")
