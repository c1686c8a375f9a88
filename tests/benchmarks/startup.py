"""Seconds until `expo-bench --help` has answered."""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path


def measure() -> list[tuple[str, float, str]]:
    command = shutil.which("expo-bench", path=str(Path(sys.executable).parent)) or "expo-bench"
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        subprocess.run([command, "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - begin)
    detail = f"seconds, median of 7, {min(seconds):.2f} to {max(seconds):.2f}; at most 0.5"
    return [("expo-bench --help", statistics.median(seconds), detail)]
