r"""OlympiadBench: 674 olympiad problems in English with final answers and without figures (arXiv 2402.14008). MIT.

https://huggingface.co/datasets/Hothan/OlympiadBench, configuration OE_TO_maths_en_COMP (its only split is called
"train"). A row, of which more fields are not read:
    {"id": 1, "question": "What are the roots of $x^2=1$?", "solution": ["..."], "final_answer": ["$1,-1$"],
     "is_multiple_answer": true, "answer_type": "Numerical", "unit": null, "error": null, "subfield": "Algebra"}
Several answers stand with commas between, without the dollars around each; a unit follows the answer, and a tolerance
("error": "1e-1", which one problem has) the unit.
"""

from expo_bench.grading.tolerances import with_tolerance
from expo_bench.problems import fields
from expo_bench.problems.base import BadRow, Benchmark, Entry, HubDataset, Row
from expo_bench.problems.reading import values


def parse(row: Row) -> Entry:
    """Read a row."""
    answers = row.get("final_answer")
    if not isinstance(answers, list) or not all(isinstance(one, str) for one in answers):
        raise BadRow("'final_answer' is no list of texts")
    answer = ", ".join(part.replace("$", "").strip() for part in answers)
    unit = (fields.optional(row, "unit") or "").replace("$", "").strip()
    answer = f"{answer} {unit}" if unit.isalpha() else f"{answer}{unit}"
    return Entry(
        question=fields.required(row, "question"),
        answer=with_tolerance(answer, values.tolerances(row.get("error"))),
        solution=values.optional_text(row.get("solution"), "solution"),
        subject=fields.optional(row, "subfield"),
    )


BENCHMARKS = (
    Benchmark(
        name="olympiadbench",
        title="OlympiadBench, English, text only",
        files={"test": "olympiad_bench.jsonl"},
        source=HubDataset(repo="Hothan/OlympiadBench", configs=("OE_TO_maths_en_COMP",), splits={"test": "train"}),
        parse=parse,
        digests={"test": "173abcebd5f2bb51f30532ce0ab9df5c8d2fe21ada7d3a4cd68eb5b10f8ec292"},
        licence="MIT",
        counts={"test": 674},
        max_tokens=8192,
    ),
)
