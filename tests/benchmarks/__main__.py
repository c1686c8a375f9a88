"""`make bench`: every speed against a named yardstick, in one run; turns alternate; median and spread."""

import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import figures_of

MODULES = (
    "startup", "metrics", "comparison", "grading", "copying", "generation", "packing", "likelihood", "vllm",
    "training", "volume", "replicas",
)  # fmt: skip
COLUMNS = ("what", "yardstick", "ratio", "spread", "in units, medians", "goal")


def main() -> None:
    """Run the named benchmarks, or all, and print one table; one that fails leaves its place in it, and exit code 1."""
    table = Table(*COLUMNS)
    failed = False
    for name in sys.argv[1:] or MODULES:
        try:
            # a process each: what one leaves behind, threads and gigabytes, slows the next
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                figures = process.submit(figures_of, name).result()
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
