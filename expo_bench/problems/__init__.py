"""Benchmarks: `load` one by name or from a file, `select` some of its problems. One file a benchmark."""

from expo_bench.problems.loading import BENCHMARKS, DATA_VARIABLE, Loaded, budget, load, load_all, published
from expo_bench.problems.reading.mapping import Reading
from expo_bench.problems.selection import select

__all__ = ["BENCHMARKS", "DATA_VARIABLE", "Loaded", "Reading", "budget", "load", "load_all", "published", "select"]
