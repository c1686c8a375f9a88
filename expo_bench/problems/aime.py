"""AIME 2024 and 2025: the American Invitational Mathematics Examination, papers I and II, 15 problems each.

The problems are by the Mathematical Association of America; neither repository states a licence.
https://huggingface.co/datasets/HuggingFaceH4/aime_2024 (its only split is called "train"). A row:
    {"id": 60, "problem": "What is $1+1$?", "solution": "It is 2.", "answer": "002", "url": "https://..."}
https://huggingface.co/datasets/math-ai/aime25. A row, which has no solution:
    {"problem": "What is $1+1$?", "answer": "2", "id": "0"}
Answers are whole numbers from 0 to 999. The examination writes them with three digits, the files sometimes; here they
go without leading zeros.
"""

from expo_bench.problems import fields
from expo_bench.problems.base import Benchmark, Entry, HubDataset, Row


def parse(row: Row) -> Entry:
    """Read a row of either year."""
    answer = fields.answer(row)
    return Entry(
        question=fields.required(row, "problem"),
        answer=str(int(answer)) if answer.isdecimal() and len(answer) <= 3 else answer,
        solution=fields.optional(row, "solution"),
        source=fields.optional(row, "url"),
    )


AIME24 = Benchmark(
    name="aime24",
    files={"test": "aime24.jsonl"},
    source=HubDataset(repo="HuggingFaceH4/aime_2024", splits={"test": "train"}),
    parse=parse,
    digests={"test": "842979743daf2fc34b1bf9e8e85a8eeb741eb0d30266a17753f1fce64fc589b4"},
)

AIME25 = Benchmark(
    name="aime25",
    files={"test": "aime25.jsonl"},
    source=HubDataset(repo="math-ai/aime25"),
    parse=parse,
    digests={"test": "21b1f0e04422c21e5894509fa28fc01fa2282b1adfaea235ff9a106ed2303e96"},
)
