r"""MATH and MATH-500: competition problems in seven subjects and five levels.

MATH (Hendrycks et al. 2021, https://arxiv.org/abs/2103.03874): 7,500 problems to train on and 5,000 to test.
https://huggingface.co/datasets/EleutherAI/hendrycks_math, one configuration a subject. MIT licence. A row:
    {"problem": "What is $1+1$?", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{2}$."}
The answer is what the last box of the solution holds. A few rows have "Level ?": no level.

MATH-500 (Lightman et al. 2023, https://arxiv.org/abs/2305.20050): 500 of the test problems, drawn uniformly.
https://huggingface.co/datasets/HuggingFaceH4/MATH-500. MIT licence. A row has an answer of its own:
    {"problem": "What is $1+1$?", "solution": "It is $\\boxed{2}$.", "answer": "2", "subject": "Algebra", "level": 1,
     "unique_id": "test/algebra/1.json"}
"""

from expo_bench.grading.boxed import last_boxed
from expo_bench.problems import fields
from expo_bench.problems.base import Benchmark, Entry, HubDataset, Row


def parse_math(row: Row) -> Entry:
    """Read a row of MATH."""
    solution = fields.optional(row, "solution")
    return Entry(
        question=fields.required(row, "problem"),
        answer=last_boxed(solution or "") or "",
        solution=solution,
        level=fields.level(row),
        subject=fields.optional(row, "type"),
    )


def parse_math500(row: Row) -> Entry:
    """Read a row of MATH-500."""
    return Entry(
        question=fields.required(row, "problem"),
        answer=fields.answer(row),
        solution=fields.optional(row, "solution"),
        level=fields.level(row),
        subject=fields.optional(row, "subject"),
        source=fields.optional(row, "unique_id"),
    )


MATH = Benchmark(
    name="math",
    title="MATH",
    licence="MIT",
    files={"train": "math_train.jsonl", "test": "math_test.jsonl"},
    source=HubDataset(
        repo="EleutherAI/hendrycks_math",
        configs=(
            "algebra",
            "counting_and_probability",
            "geometry",
            "intermediate_algebra",
            "number_theory",
            "prealgebra",
            "precalculus",
        ),
    ),
    parse=parse_math,
    digests={
        "train": "a895859a390e8720903abdb3db93fc2979b950e03517fa0e9a6aa0251bd4d25c",
        "test": "6baf2cbe7e45d6be98977e2b0a8d3e2598e3cfde4423f428e784981c8594586d",
    },
    counts={"train": 7500, "test": 5000},
)

MATH500 = Benchmark(
    name="math500",
    title="MATH-500, of MATH's test problems",
    licence="MIT",
    counts={"test": 500},
    files={"test": "math500.jsonl"},
    source=HubDataset(repo="HuggingFaceH4/MATH-500"),
    parse=parse_math500,
    digests={"test": "9b34dbfc465f4c3ddea6135a4bf4a00deb26430c2576d244b9747b4cf79b7bec"},
)
