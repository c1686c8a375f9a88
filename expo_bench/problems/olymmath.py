r"""OlymMATH: 100 easier and 100 harder olympiad problems in English (arXiv 2503.21380). MIT.

https://huggingface.co/datasets/RUC-AIBOX/OlymMATH, configurations en-easy and en-hard. A row:
    {"problem": "What is $1+1$?", "answer": "2", "subject": "Algebra", "unique_id": "OlymMATH-EASY-0-EN"}
"""

from expo_bench.problems import fields
from expo_bench.problems.base import Benchmark, Entry, HubDataset, Row


def parse(row: Row) -> Entry:
    """Read a row."""
    return Entry(
        question=fields.required(row, "problem"),
        answer=fields.answer(row),
        subject=fields.optional(row, "subject"),
        source=fields.optional(row, "unique_id"),
    )


def _part(part: str, digest: str) -> Benchmark:
    return Benchmark(
        name=f"olymmath-{part}",
        title=f"OlymMATH, English, {part}",
        files={"test": f"olymmath_en_{part}.jsonl"},
        source=HubDataset(repo="RUC-AIBOX/OlymMATH", configs=(f"en-{part}",)),
        parse=parse,
        digests={"test": digest},
        counts={"test": 100},
        licence="MIT",
        max_tokens=32_768,
        groups=("olymmath",),
    )


BENCHMARKS = (
    _part("easy", "4c654347bdb0ff7e01749ea19b154497fba8066530ee188436f45034cbccf8a4"),
    _part("hard", "3f3a0022e3c4b3d7156f83a1ab1ba4c216a96c3dd5ee681387d9fbf3c5c8c8e8"),
)
