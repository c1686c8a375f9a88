"""AMC 12 of 2023: 40 problems of the American Mathematics Competitions, answers as whole numbers.

The problems are by the Mathematical Association of America; the repository states no licence.
https://huggingface.co/datasets/math-ai/amc23. A row:
    {"id": 0, "answer": 27.0, "url": "https://...", "question": "What is $1+1$?"}
"""

from expo_bench.problems import fields
from expo_bench.problems.base import Benchmark, Entry, HubDataset, Row


def parse(row: Row) -> Entry:
    """Read a row."""
    return Entry(
        question=fields.required(row, "question", "problem"),
        answer=fields.answer(row),
        source=fields.optional(row, "url"),
    )


BENCHMARKS = (
    Benchmark(
        name="amc23",
        title="AMC 12 of 2023",
        files={"test": "amc_2023.jsonl"},
        source=HubDataset(repo="math-ai/amc23"),
        parse=parse,
        digests={"test": "2746ea8f1a2869e53e76918b29dc84cd6661700487a5ad9b87a5f061bd357e9c"},
        counts={"test": 40},
        max_tokens=8192,
    ),
)
