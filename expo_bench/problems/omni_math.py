r"""Omni-MATH: olympiad problems with a difficulty from 1 to 9.5 and one or more domains.

Gao et al. 2024, https://arxiv.org/abs/2410.07985. Apache-2.0. All 4,428 problems, of which some ask for proofs or have
no short answer: https://huggingface.co/datasets/KbsdJames/Omni-MATH. The 2,821 whose answers a rule can grade are not
on the hub: https://github.com/KbsdJames/omni-math-rule. A row of either:
    {"domain": ["Mathematics -> Algebra -> Prealgebra", "Mathematics -> Number Theory -> Congruences"],
     "difficulty": 4.5, "problem": "What is $1+1$?", "solution": "It is 2.", "answer": "2", "source": "HMMT_2"}

Levels: the difficulty rounded down, so that level 4 is [4, 5) and every problem is in exactly one. They add up to the
coarser bins [1, 3), [3, 5), [5, 7), [7, 10). Domains: the names right below "Mathematics", each once; the first is the
subject, and a problem counts in every one.
"""

import math
import re

from expo_bench.problems import fields
from expo_bench.problems.base import BadRow, Benchmark, Entry, HubDataset, Row, WebFile

REPAIRED = "had LaTeX commands that a JSON escape had damaged: these were repaired"
# A writer of the published file took the first letter of some LaTeX commands for an escape: \frac became a form feed
# and "rac", \times a tab and "imes". Such a gold answer could not be read.
_DAMAGED = re.compile(r"[\f\t\b](?=(?:rac|imes|riangle|heta|ext|inom|eta|egin|oxed)(?![a-z]))")
_ESCAPES = {"\f": r"\f", "\t": r"\t", "\b": r"\b"}


def parse(row: Row) -> Entry:
    """Read a row of the whole or of the subset."""
    mended = {name: _mend(value) if isinstance(value, str) else value for name, value in row.items()}
    domain = _domains(mended.get("domain"))
    return Entry(
        question=fields.required(mended, "problem"),
        answer=fields.answer(mended),
        solution=fields.optional(mended, "solution"),
        level=_level(mended.get("difficulty")),
        subject=domain[0] if domain else None,
        domain=domain,
        source=fields.optional(mended, "source"),
        note=REPAIRED if any(mended[name] != row[name] for name in row) else None,
    )


def _mend(text: str) -> str:
    return _DAMAGED.sub(lambda match: _ESCAPES[match[0]], text)


def _level(difficulty: object) -> int | None:
    if difficulty is None:
        return None
    if isinstance(difficulty, bool) or not isinstance(difficulty, int | float) or not 1 <= difficulty < 10:
        raise BadRow(f"'difficulty' is {difficulty!r}; it must be a number from 1 to below 10")
    return math.floor(difficulty)


def _domains(chains: object) -> tuple[str, ...]:
    if chains is None:
        return ()
    if not isinstance(chains, list) or not all(isinstance(chain, str) for chain in chains):
        raise BadRow("'domain' is no list of texts")
    return tuple(dict.fromkeys(filter(None, map(_domain, chains))))


def _domain(chain: str) -> str:
    names = [name.strip() for name in chain.split("->")]
    return names[1] if names[0] == "Mathematics" and len(names) > 1 else names[0]


OMNI_MATH = Benchmark(
    name="omni-math",
    title="Omni-MATH",
    licence="Apache-2.0",
    files={"test": "omni_math.jsonl"},
    source=HubDataset(repo="KbsdJames/Omni-MATH"),
    parse=parse,
    counts={"test": 4428},
)

OMNI_MATH_RULE = Benchmark(
    name="omni-math-rule",
    title="Omni-MATH, the rule-gradable subset",
    licence="Apache-2.0",
    counts={"test": 2821},
    files={"test": "omni_math_rule.jsonl"},
    source=WebFile(
        name="github:KbsdJames/omni-math-rule",
        url="https://raw.githubusercontent.com/KbsdJames/omni-math-rule/{revision}/omni_math_rule.jsonl",
        revision="4793415ef37d31c9cdb4e5b82dbe172f76f8cf08",
    ),
    parse=parse,
    digests={"test": "917f9e87c298fb3d7ca854807579de9f532210351224c6d52185696fa037c232"},
)
