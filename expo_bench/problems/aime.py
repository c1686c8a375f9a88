"""AIME 2022 to 2025: the American Invitational Mathematics Examination, papers I and II, 15 problems each.

The problems are by the Mathematical Association of America; neither repository states a licence.
https://huggingface.co/datasets/HuggingFaceH4/aime_2024 (its only split is called "train"). A row:
    {"id": 60, "problem": "What is $1+1$?", "solution": "It is 2.", "answer": "002", "url": "https://..."}
https://huggingface.co/datasets/math-ai/aime25. A row, which has no solution:
    {"problem": "What is $1+1$?", "answer": "2", "id": "0"}
https://huggingface.co/datasets/AI-MO/aimo-validation-aime, 2022 to 2024 with solutions, Apache-2.0 (its only split is
called "train"). A row is one of aime_2024's. The solutions of 2025 stand in NVIDIA's NeMo-Skills (Apache-2.0), file
nemo_skills/dataset/aime25/test.txt, in the order of the problems:
    {"id": "aime25-0", "problem": "...", "expected_answer": "2", "reference_solution": "It is 2."}
Answers are whole numbers from 0 to 999. The examination writes them with three digits, the files sometimes; here they
go without leading zeros.
"""

from expo_bench.problems import fields
from expo_bench.problems.base import Benchmark, Entry, HubDataset, Row, Solutions, WebFile

BUDGET = 32_768


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
    title="AIME I and II of 2024",
    counts={"test": 30},
    max_tokens=BUDGET,
    groups=("aime",),
    files={"test": "aime24.jsonl"},
    source=HubDataset(repo="HuggingFaceH4/aime_2024", splits={"test": "train"}),
    parse=parse,
    digests={"test": "842979743daf2fc34b1bf9e8e85a8eeb741eb0d30266a17753f1fce64fc589b4"},
)

AIME25 = Benchmark(
    name="aime25",
    title="AIME I and II of 2025",
    counts={"test": 30},
    max_tokens=BUDGET,
    groups=("aime",),
    solutions=Solutions(
        file="aime25_solutions.jsonl",
        source=WebFile(
            name="github:NVIDIA-NeMo/Skills",
            url="https://raw.githubusercontent.com/NVIDIA-NeMo/Skills/{revision}/nemo_skills/dataset/aime25/test.txt",
            revision="959efb95e9cc7cf6559d1d0e3e3299392100edef",
        ),
        field="reference_solution",
        answer_field="expected_answer",
    ),
    files={"test": "aime25.jsonl"},
    source=HubDataset(repo="math-ai/aime25"),
    parse=parse,
    digests={"test": "21b1f0e04422c21e5894509fa28fc01fa2282b1adfaea235ff9a106ed2303e96"},
)

AIME22_24 = Benchmark(
    name="aime22-24",
    title="AIME I and II of 2022, 2023 and 2024, with solutions",
    files={"test": "aimo_validation_aime.jsonl"},
    source=HubDataset(repo="AI-MO/aimo-validation-aime", splits={"test": "train"}),
    parse=parse,
    digests={"test": "eb8f8cb49ed7f31f4e0facaa902369274e365d11bf097f7b6d158e1072969b7a"},
    counts={"test": 90},
    licence="Apache-2.0",
    max_tokens=BUDGET,
)
