"""Seconds until `expo-bench --help` has answered, against `lm_eval --help`; turns alternate."""

import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, against, ratios

ROUNDS = 7


def measure() -> list[Figure]:
    seconds: dict[str, list[float]] = {"expo-bench": [], "lm_eval": []}
    for turn in range(ROUNDS + 1):
        for command, found in seconds.items():
            begin = time.perf_counter()
            subprocess.run([Path(sys.executable).with_name(command), "--help"], check=True, capture_output=True)
            # the first turn brings the files into memory
            if turn:
                found.append(time.perf_counter() - begin)
    ours, theirs = seconds.values()
    return [
        Figure(
            what="time of expo-bench --help",
            yardstick="lm_eval --help",
            ratios=ratios(ours, theirs),
            absolute=against(ours, theirs, "s", 2),
            goal="at most 0.5 s",
        )
    ]
