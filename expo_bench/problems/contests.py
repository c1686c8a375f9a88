r"""Contests of 2025 and 2026 as MathArena keeps them: AIME, HMMT, BRUMO, CMIMC.

The problems are the contests' own; MathArena's files are CC BY-NC-SA 4.0. https://huggingface.co/datasets/MathArena/
aime_2026, hmmt_feb_2025, hmmt_nov_2025, hmmt_feb_2026, brumo_2025 and cmimc_2025 (the only split is called "train"). A
row, of which some have a list of subjects:
    {"problem_idx": 1, "problem": "What is $1+1$?", "answer": "2", "problem_type": ["Algebra"]}
An answer is a whole number or LaTeX, sometimes of several values.
"""

from expo_bench.problems import fields
from expo_bench.problems.base import BadRow, Benchmark, Entry, HubDataset, Row

LICENCE = "CC BY-NC-SA 4.0"
BUDGET = 32_768


def parse(row: Row) -> Entry:
    """Read a row of any of the contests."""
    types = row.get("problem_type") or []
    if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
        raise BadRow("'problem_type' is no list of texts")
    return Entry(
        question=fields.required(row, "problem"),
        answer=fields.answer(row),
        subject=types[0] if types else None,
        domain=tuple(types),
    )


def _contest(name: str, title: str, repo: str, size: int, digest: str | None = None) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        files={"test": f"{repo}.jsonl"},
        source=HubDataset(repo=f"MathArena/{repo}", splits={"test": "train"}),
        parse=parse,
        digests={"test": digest} if digest else {},
        counts={"test": size},
        licence=LICENCE,
        max_tokens=BUDGET,
        groups=("aime", "contests") if name.startswith("aime") else ("contests",),
    )


BENCHMARKS = (
    _contest(
        "aime26",
        "AIME I and II of 2026",
        "aime_2026",
        30,
        "44483fa59232ed1fd2bf236ff9461d2ee99abf6ce187adf75f65c1c9bd0c020d",
    ),
    _contest(
        "hmmt-feb25",
        "HMMT of February 2025",
        "hmmt_feb_2025",
        30,
        "7f852464afa52686552a75f357621decb07e0665336a8c73086ebbadac6eda20",
    ),
    _contest("hmmt-nov25", "HMMT of November 2025", "hmmt_nov_2025", 30),
    _contest("hmmt-feb26", "HMMT of February 2026", "hmmt_feb_2026", 33),
    _contest(
        "brumo25", "BRUMO 2025", "brumo_2025", 30, "b4d39538ec6b6aa49d4d5ee60863a2c79b6cca6e28f50bccf7c0db14affd7ab7"
    ),
    _contest(
        "cmimc25", "CMIMC 2025", "cmimc_2025", 40, "7510f0bd331003a1e7ba0de49b665fb6611f5ee9b0076a91282ed6da2d062a47"
    ),
)
