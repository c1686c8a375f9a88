"""The samples of lm-evaluation-harness 0.4.

Read from the source of lm-eval 0.4.13: evaluator.py, loggers/evaluation_tracker.py.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError
from expo_bench.grading.boxed import last_boxed
from expo_bench.importing.foreign import STAMP, ForeignFile, Texts, benchmark_of, seed_of, task_of
from expo_bench.problems import BENCHMARKS, fields, published
from expo_bench.problems.base import BadRow, Entry, Row
from expo_bench.problems.gsm8k import GSM8K
from expo_bench.problems.identity import with_ids
from expo_bench.problems.reading import values

PUBLISHED = {name: one for name in BENCHMARKS if (one := published(name)) and not one.has_choices}


def read_results(path: Path) -> dict[str, Any]:
    """Return a harness's file of results; empty where it was not kept beside the samples."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"{path} is not JSON; mend it or move it away: it tells the model and how it sampled"
        ) from error
    return found if isinstance(found, dict) else {}


def read_lm_eval(path: Path, rows: Iterable[tuple[str, Row]], named: str | None, split: str) -> ForeignFile:
    """Read the rows of a samples_*.jsonl and, where it lies beside, the results_*.json of the same moment.

    Raises:
        UserError: the file is something else, or a document has no question or gold answer.
    """
    task, results = task_of(path), {}
    benchmark = benchmark_of(task, named)
    if stamp := STAMP.fullmatch(path.stem):
        results = read_results(path.with_name(f"results_{stamp['date']}T{stamp['time']}.json"))
    lines = sorted(_lm_eval_lines(rows), key=lambda line: line.doc_id)
    if not lines:
        raise UserError(f"{path} holds no samples")
    entries = [_entry(line.doc, benchmark, f"{path}, doc_id {line.doc_id}") for line in lines]
    problems = with_ids(entries, benchmark, split)
    config = results.get("config") or {}
    return ForeignFile(
        path=path,
        task=task,
        benchmark=benchmark,
        found=[
            Texts(problem=problem, prompt=line.prompt, texts=line.texts, scores=_scores(line))
            for problem, line in zip(problems, lines, strict=True)
        ],
        sampling=_lm_eval_sampling(lines[0].generation),
        model={
            "name": results.get("model_name") or path.resolve().parent.name,
            "revision": config.get("model_revision"),
            "dtype": config.get("model_dtype"),
            "engine": f"lm-eval {results.get('model_source') or ''}".strip(),
            "engine_version": results.get("lm_eval_version"),
        },
        seed=seed_of(config.get("torch_seed")),
        versions={key: results[key] for key in ("lm_eval_version", "transformers_version") if key in results},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    doc_id: int
    doc: Mapping[str, Any]
    prompt: str
    generation: Mapping[str, Any]
    texts: list[str | None]
    score: bool | None


def _lm_eval_lines(rows: Iterable[tuple[str, Row]]) -> list[_Line]:
    """Return the documents with their completions, each once.

    A file has a line for each document and filter; the filters see the same completions. Where lines do not name their
    filter, those of a document with the same completions are such lines; with others, they are further samples.
    """
    chosen: str | None = None
    found: dict[int, _Line] = {}
    seen: set[tuple[int, tuple[str | None, ...]]] = set()
    for place, row in rows:
        line = _lm_eval_line(row, place)
        chosen = chosen or row.get("filter")
        key = (line.doc_id, tuple(line.texts))
        if row.get("filter") != chosen or (chosen is None and key in seen):
            continue
        seen.add(key)
        if line.doc_id in found:
            found[line.doc_id].texts.extend(line.texts)
        else:
            found[line.doc_id] = line
    return list(found.values())


def _lm_eval_line(row: Mapping[str, Any], place: str) -> _Line:
    lacking = [name for name in ("doc", "doc_id", "arguments", "resps") if name not in row]
    if lacking or not isinstance(row["doc"], dict):
        lack = f"lacks {', '.join(lacking)}" if lacking else "has a doc that is no object"
        raise UserError(f"{place}: not a sample of lm-eval 0.4, as --log_samples writes them: {lack}")
    requests = row["arguments"]
    requests = list(requests.values()) if isinstance(requests, dict) else requests
    request = requests[0] if requests else []
    prompt, generation = (list(request.values()) if isinstance(request, dict) else [*request, None, None])[:2]
    responses = row["resps"]
    generated = isinstance(generation, dict) and len(requests) == len(responses) == 1
    if not generated or not all(isinstance(text, str) for text in responses[0]):
        raise UserError(f"{place}: nothing was generated: only tasks of the type generate_until hold samples")
    prompt = prompt if isinstance(prompt, str) else json.dumps(prompt)
    metric = (row.get("metrics") or ["exact_match"])[0]
    return _Line(
        doc_id=row["doc_id"],
        doc=row["doc"],
        prompt=prompt,
        generation=generation,
        texts=list(responses[0]),
        score=values.verdict(row.get(metric)),
    )


def _scores(line: _Line) -> list[bool | None] | None:
    # of several completions lm-eval tells the mean, or the first one's
    return [line.score] if len(line.texts) == 1 else None


def _entry(doc: Mapping[str, Any], benchmark: str, place: str) -> Entry:
    """Read a document as the benchmark's own rows are read, so that questions, and with them ids, are the same."""
    row = {name.lower(): value for name, value in doc.items()}
    try:
        if benchmark in PUBLISHED and _is_published(benchmark, row):
            # minerva_math writes a normalised answer over the benchmark's
            boxed = last_boxed(fields.optional(row, "solution") or "") if benchmark == "math500" else None
            found = PUBLISHED[benchmark].parse({**row, "answer": boxed} if boxed else row)
        else:
            found = _own_entry(row)
        if not found.answer:
            raise BadRow("has no gold answer; answer, or solution with a box, is looked for")
    except BadRow as error:
        raise UserError(f"{place}: {error}; the document has {', '.join(doc)}") from error
    return found


def _is_published(benchmark: str, row: Mapping[str, Any]) -> bool:
    """Tell whether a document has the fields of the benchmark's own rows; tasks may rename them."""
    try:
        return bool(PUBLISHED[benchmark].parse(row).question)
    except BadRow:
        return "question" not in row or benchmark == "gsm8k"


def _own_entry(row: Mapping[str, Any]) -> Entry:
    question = fields.required(row, "problem", "question")
    solution = fields.optional(row, "solution")
    answer = fields.answer(row) or last_boxed(solution or "") or ""
    if "####" in answer:
        return GSM8K.parse({"question": question, "answer": answer})
    return Entry(question=question, answer=answer, solution=solution)


def _lm_eval_sampling(generation: Mapping[str, Any]) -> dict[str, Any]:
    until = generation.get("until") or []
    # lm-eval decodes greedily unless told otherwise
    sampled = generation.get("do_sample", bool(generation.get("temperature")))
    return {
        "temperature": generation.get("temperature") if sampled else 0.0,
        "top_p": generation.get("top_p"),
        "max_tokens": generation.get("max_gen_toks"),
        "stop": [until] if isinstance(until, str) else list(until),
    }
