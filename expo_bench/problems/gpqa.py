"""GPQA diamond: 198 multiple-choice questions by experts in natural sciences (arXiv 2311.12022). CC BY 4.0.

https://huggingface.co/datasets/Idavidrein/gpqa, whose authors ask everyone not to show its examples: access is granted
to those who accept that. A row, of which more fields are not read:
    {"Question": "What is 1 + 1?", "Correct Answer": "2", "Incorrect Answer 1": "1", "Incorrect Answer 2": "3",
     "Incorrect Answer 3": "4", "Explanation": "...", "High-level domain": "Physics", "Subdomain": "Sums",
     "Record ID": "rec0"}
The right answer comes first there, so the choices are put into another order: by the sha256 of a seed, the question and
the choice, so that neither selection nor position decides. The gold answer is the letter.
"""

import hashlib

from expo_bench.problems import fields
from expo_bench.problems.base import BadRow, Benchmark, Entry, HubDataset, Row

LETTERS = "ABCD"


def parse(row: Row, choice_seed: int = 0) -> Entry:
    """Read a row, with its choices in the order of the seed."""
    question, right = fields.required(row, "Question"), fields.required(row, "Correct Answer")
    choices = [right, *(fields.required(row, f"Incorrect Answer {number}") for number in (1, 2, 3))]
    if choices.count(right) > 1:
        raise BadRow("the correct answer is among the incorrect ones")
    choices.sort(key=lambda choice: hashlib.sha256(f"{choice_seed}\n{question}\n{choice}".encode()).digest())
    listed = "\n".join(f"{letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=True))
    subdomain = fields.optional(row, "Subdomain")
    return Entry(
        question=f"{question}\n\n{listed}\n\nWhich of the choices is right? The final answer is its letter.",
        answer=LETTERS[choices.index(right)],
        solution=fields.optional(row, "Explanation"),
        subject=fields.optional(row, "High-level domain"),
        domain=(subdomain,) if subdomain else (),
        source=fields.optional(row, "Record ID"),
    )


GPQA_DIAMOND = Benchmark(
    name="gpqa-diamond",
    title="GPQA diamond, multiple choice, gated",
    licence="CC BY 4.0",
    max_tokens=32_768,
    files={"test": "gpqa_diamond.jsonl"},
    source=HubDataset(repo="Idavidrein/gpqa", configs=("gpqa_diamond",), splits={"test": "train"}),
    parse=parse,
    counts={"test": 198},
    has_choices=True,
    access=(
        "accept its terms at https://huggingface.co/datasets/Idavidrein/gpqa and set HF_TOKEN to that account's token"
    ),
)
