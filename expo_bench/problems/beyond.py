r"""BeyondAIME and MATH-Beyond: problems that are meant to be out of reach.

BeyondAIME: 100 problems with whole numbers as answers. https://huggingface.co/datasets/ByteDance-Seed/BeyondAIME. A
row:
    {"problem": "What is $1+1$?", "answer": 2}

MATH-Beyond (arXiv 2510.11653): 181 problems that at least one of 21 base models does not solve in 1,024 samples,
https://huggingface.co/datasets/brendel-group/MATH-Beyond. MIT. A row, with two columns for each model:
    {"problem": "What is $1+1$?", "answer": "2", "qwen2.5-7b_pass@1024": 0.0, "qwen2.5-7b_unsolved": true}
The published zero set of a model is the domain "unsolved by MODEL": `--subjects "unsolved by qwen2.5-7b"` selects it,
so that nobody need draw 1,024 samples to know it.
"""

from expo_bench.problems import fields
from expo_bench.problems.base import Benchmark, Entry, HubDataset, Row

_UNSOLVED = "_unsolved"


def parse(row: Row) -> Entry:
    """Read a row of BeyondAIME."""
    return Entry(question=fields.required(row, "problem"), answer=fields.answer(row))


def parse_math_beyond(row: Row) -> Entry:
    """Read a row of MATH-Beyond; the models that do not solve it are its domains."""
    models = [name.removesuffix(_UNSOLVED) for name in row if name.endswith(_UNSOLVED)]
    unsolved = [model for model in models if str(row[f"{model}{_UNSOLVED}"]).lower() in ("true", "1", "1.0")]
    return Entry(
        question=fields.required(row, "problem"),
        answer=fields.answer(row),
        domain=tuple(f"unsolved by {model}" for model in sorted(unsolved)),
    )


BENCHMARKS = (
    Benchmark(
        name="beyondaime",
        title="BeyondAIME",
        files={"test": "beyond_aime.jsonl"},
        source=HubDataset(repo="ByteDance-Seed/BeyondAIME"),
        parse=parse,
        counts={"test": 100},
        max_tokens=32_768,
    ),
    Benchmark(
        name="math-beyond",
        title="MATH-Beyond, with the zero sets of 21 models",
        files={"test": "math_beyond.jsonl"},
        source=HubDataset(repo="brendel-group/MATH-Beyond"),
        parse=parse_math_beyond,
        counts={"test": 181},
        licence="MIT",
        max_tokens=8192,
    ),
)
