"""`make bench`: every speed against a named yardstick, in one run; turns alternate; median and spread."""

import importlib
import sys
import traceback
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import Figure

MODULES = (
    "startup", "metrics", "comparison", "grading", "generation", "likelihood", "vllm", "training", "volume", "replicas",
)  # fmt: skip
COLUMNS = ("what", "yardstick", "ratio", "spread", "in units, medians", "goal")


def main() -> None:
    """Run the named benchmarks, or all, and print one table; one that fails leaves its place in it, and exit code 1."""
    table = Table(*COLUMNS)
    failed = False
    for name in sys.argv[1:] or MODULES:
        try:
            figures: Sequence[Figure] = importlib.import_module(f"tests.benchmarks.{name}").measure()
        except Exception as error:
            # the others take half an hour, and are not thrown away
            failed = True
            traceback.print_exc()
            table.add_row(name, f"failed: {type(error).__name__}: {error}")
            continue
        for figure in figures:
            table.add_row(*figure.cells())
            print(" | ".join(figure.cells()), file=sys.stderr, flush=True)
    Console(width=180).print(table)
    sys.exit(failed)


if __name__ == "__main__":
    main()
