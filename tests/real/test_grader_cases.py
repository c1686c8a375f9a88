"""Answers that public bug reports of graders are about: each has a right verdict. Read from the folder of the data."""

import json
import os
from pathlib import Path

import pytest

from expo_bench.grading.judge import Attempt, Judge

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("EXPO_BENCH_DATA"), reason="EXPO_BENCH_DATA names no folder"),
]

CONTESTED = {("(a+5)(b+2)", "ab+2a+5b+10"), (r"1 + 1 + \frac{1}{2} + \ldots + \frac{1}{7}", r"\frac{503}{140}")}
"""Gold answer and answer; docs/grading.md says why."""


def test_cases() -> None:
    file = Path(os.environ["EXPO_BENCH_DATA"]) / "grader_cases.jsonl"
    if not file.is_file():
        pytest.skip(f"{file} does not exist")
    cases = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    with Judge(cpu_seconds=5.0, timeout_seconds=60.0) as judge:
        verdicts = list(judge.judge_many(Attempt(gold=case["answer"], text=case["text"]) for case in cases))
    wrong = {
        (case["answer"], verdict.extracted)
        for case, verdict in zip(cases, verdicts, strict=True)
        if (verdict.correct is True) != case["right"]
    }
    assert wrong == CONTESTED
