"""A small run of each command that writes rows, and what must be in its folder in the end."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from expo_bench.grading.judge import GRADER
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.token_arrays import read_parts
from tests.faults import processes

EVAL = [
    "eval",
    "-m",
    "micro",
    "-b",
    "sums.jsonl",
    "-n",
    "2",
    "--max-tokens",
    "24",
    "-o",
    "run",
    "engine_options.batch_size=1",
]
CANDIDATES = [
    "candidates",
    "-m",
    "micro",
    "-b",
    "sums.jsonl",
    "--n-own",
    "2",
    "--per-source",
    "1",
    "--max-tokens",
    "24",
    "-o",
    "run",
    "engine_options.batch_size=1",
]
LIKELIHOOD = ["likelihood", "run", "-m", "micro"]
IMPORT = ["import", "samples_sums.jsonl", "-o", "run"]


def write_problems(folder: Path, n: int = 2) -> None:
    """Write the benchmark that the commands read, and another harness's samples of it."""
    rows = [
        {"question": f"Compute {a} + 3 modulo 100 .", "answer": str(a + 3), "solution": f"so \\boxed{{{a + 3}}}"}
        for a in range(1, n + 1)
    ]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = (
        {
            "doc_id": at,
            "doc": row,
            "arguments": [[row["question"], {"max_gen_toks": 24}]],
            "resps": [["\\boxed{4}"] * 4],
        }
        for at, row in enumerate(rows)
    )
    (folder / "samples_sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))


def uninterrupted(folder: Path, *commands: list[str]) -> dict[str, dict[Any, Any]]:
    """Run the commands without a fault and return their rows."""
    write_problems(folder)
    for words in commands:
        ended = processes.run(folder, words)
        assert ended.code == 0, ended.errors
    return rows(folder / "run")


def rows(path: Path) -> dict[str, dict[Any, Any]]:
    """Return every row of a run folder by kind and key, without what differs between equal runs (times)."""
    run = RunFolder(path)
    found: dict[str, list[tuple[Any, Any]]] = {
        "problem": [(row.problem_id, row) for row in run.problems()],
        "sample": [((row.problem_id, row.sample_index), row) for row in run.samples()],
        "grade": [((row.problem_id, row.sample_index), replace(row, seconds=0.0)) for row in run.grades(GRADER)],
        "explanation": [((row.problem_id, row.sample_index), row) for row in run.explanations()],
        "candidate": [((row.problem_id, row.candidate_id), row) for row in run.candidates()],
        "metric": [((row.name, row.subset), row) for row in run.metrics()],
        "likelihood": [((row.problem_id, row.candidate_id), row) for row in run.likelihoods("micro")],
        "arrays": [
            ((row.problem_id, row.candidate_id), (row.token_ids, row.logprobs.tolist()))
            for row in read_parts(run.likelihoods_folder("micro"))
        ],
        "likelihood metric": [
            ((row.name, row.policy, row.subset, row.source), asdict(row)) for row in run.likelihood_metrics()
        ],
    }
    for kind, pairs in found.items():
        assert len(dict(pairs)) == len(pairs), f"a {kind} is there twice"
    return {kind: dict(pairs) for kind, pairs in found.items()}


def lost(expected: dict[str, dict[Any, Any]], path: Path) -> int:
    """Return how many rows are missing or differ; more rows than expected fail at once."""
    found = rows(path)
    assert all(found[kind].keys() <= expected[kind].keys() for kind in expected)
    return sum(found[kind].get(key) != row for kind, listed in expected.items() for key, row in listed.items())
