"""Benchmarks: `load` one by name or from a file, `select` some of its problems. One file a benchmark."""

from expo_bench.problems.loading import BENCHMARKS, DATA_VARIABLE, Loaded, load, load_all
from expo_bench.problems.reading.mapping import Reading
from expo_bench.problems.selection import select

__all__ = ["BENCHMARKS", "DATA_VARIABLE", "Loaded", "Reading", "load", "load_all", "select"]
