"""`expo-bench list`."""

import typer


def list_() -> None:
    """List the benchmarks, prompts and engines."""
    from expo_bench.problems import BENCHMARKS
    from expo_bench.prompts import SOLVE_PROMPTS

    typer.echo(f"benchmarks: {', '.join(BENCHMARKS)}")
    typer.echo(f"prompts: {', '.join(SOLVE_PROMPTS)}")
    typer.echo("engines: auto, transformers, vllm, server")
