"""`make bench`: every speed against a named yardstick, measured in one run, alternating, median of several."""

import importlib
import sys

from rich.console import Console
from rich.table import Table

MODULES = ("startup", "metrics", "comparison", "grading", "generation", "likelihood", "vllm")


def main() -> None:
    """Run the named benchmarks, or all, and print one table."""
    table = Table("what", "figure", "how it was measured")
    for name in sys.argv[1:] or MODULES:
        for what, figure, detail in importlib.import_module(f"tests.benchmarks.{name}").measure():
            table.add_row(what, f"{figure:.2f}", detail)
            print(f"{what}: {figure:.2f}  ({detail})", file=sys.stderr, flush=True)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
