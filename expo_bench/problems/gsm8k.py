r"""GSM8K: word problems of grade school, 7,473 to train on and 1,319 to test.

Cobbe et al. 2021, https://arxiv.org/abs/2110.14168. https://huggingface.co/datasets/openai/gsm8k, configuration
"main". MIT licence. A row:
    {"question": "What are 2 boxes of 600 eggs?", "answer": "There are 2*600=<<2*600=1200>>1200 eggs.\n#### 1,200"}
The gold answer stands after "####" and loses its thousands separators. The whole is the solution, which without its
last line would end without an answer; the <<...>> in it told a calculator what to compute during the authors' sampling,
and is taken out.
"""

import re

from expo_bench.problems import fields
from expo_bench.problems.base import Benchmark, Entry, HubDataset, Row

_CALCULATION = re.compile(r"<<[^<>]*>>")


def parse(row: Row) -> Entry:
    """Read a row of either split."""
    text = fields.required(row, "answer")
    worked, mark, gold = text.rpartition("####")
    return Entry(
        question=fields.required(row, "question"),
        answer=fields.answer({"answer": gold.replace(",", "")}) if mark else "",
        solution=_CALCULATION.sub("", text) if worked.strip() else None,
    )


GSM8K = Benchmark(
    name="gsm8k",
    title="GSM8K, word problems of grade school",
    licence="MIT",
    counts={"train": 7473, "test": 1319},
    files={"train": "gsm8k_train.jsonl", "test": "gsm8k_test.jsonl"},
    source=HubDataset(repo="openai/gsm8k", configs=("main",)),
    parse=parse,
    digests={
        "train": "8d9c42d6856851c5586f0f3e354eb92b470cbbb456b2dc80d6f5fc2bd85895c6",
        "test": "99a2698dc959e843233e25a52718c29388796297033952926927f9d351bf823f",
    },
)
