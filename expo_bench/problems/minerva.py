r"""Minerva: 272 problems of undergraduate courses in science and mathematics (arXiv 2206.14858).

https://huggingface.co/datasets/knoveleng/Minerva-Math (its only split is called "train"); no licence is stated. A row:
    {"problem": "What is $1+1$?", "solution": "It is $\\boxed{2}$.", "type": "Introduction to Astronomy", "idx": 0}
The answer is what the last box of the solution holds: numbers, often with units, and expressions.
"""

from expo_bench.grading.boxed import last_boxed
from expo_bench.problems import fields
from expo_bench.problems.base import Benchmark, Entry, HubDataset, Row


def parse(row: Row) -> Entry:
    """Read a row."""
    solution = fields.optional(row, "solution")
    return Entry(
        question=fields.required(row, "problem"),
        answer=last_boxed(solution or "") or "",
        solution=solution,
        subject=fields.optional(row, "type"),
    )


BENCHMARKS = (
    Benchmark(
        name="minerva",
        title="Minerva's course problems",
        files={"test": "minerva_math.jsonl"},
        source=HubDataset(repo="knoveleng/Minerva-Math", splits={"test": "train"}),
        parse=parse,
        digests={"test": "6495ea702ded3eb019336f0332c1f2ffbdccab717288a4ee2dbb60de5dfe747c"},
        counts={"test": 272},
        max_tokens=4096,
    ),
)
