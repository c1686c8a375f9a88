"""The real model: `make test-real` fetches it."""

import os
from pathlib import Path
from typing import Any

import pytest

from expo_bench.engines.base import Request

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "SmolLM2-135M-Instruct"
QUESTIONS = ("What is 1+1?", "Name three prime numbers.", "Why is the sky blue?", "Solve x + 2 = 5.")


@pytest.fixture(scope="session")
def real_model() -> str:
    """The folder of SmolLM2-135M-Instruct: EXPO_BENCH_REAL_MODEL, else what tools/real_model.py makes."""
    folder = Path(os.environ.get("EXPO_BENCH_REAL_MODEL") or FOLDER)
    if not (folder / "config.json").is_file():
        pytest.skip(f"no real model at {folder}: run tools/real_model.py or set EXPO_BENCH_REAL_MODEL")
    return str(folder)


def question(problem_id: str, text: str, seeds: tuple[int, ...] = (1,), **changes: Any) -> Request:
    """Return a request for as many samples as there are seeds."""
    return Request(
        problem_id=problem_id,
        messages=({"role": "user", "content": text},),
        sample_indexes=tuple(range(len(seeds))),
        seeds=seeds,
        **changes,
    )


@pytest.fixture(scope="session")
def real_requests() -> list[Request]:
    """Four questions, two samples each."""
    return [question(f"p{i}", text, (10 * i + 1, 10 * i + 2)) for i, text in enumerate(QUESTIONS)]
