"""The details that lighteval keeps: Parquet, a row a problem.

Read from the sources of lighteval 0.10.0 and 0.13.0: logging/info_loggers.py, logging/evaluation_tracker.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError
from expo_bench.importing.foreign import ForeignFile, Texts, benchmark_of, seed_of, task_of
from expo_bench.importing.lm_eval import read_results
from expo_bench.importing.mapped import asked
from expo_bench.problems import BENCHMARKS, load
from expo_bench.problems.base import Row
from expo_bench.problems.reading.values import verdict

_Row = tuple[str, list[str | None], list[int] | None, int | None, bool | None]
"""Prompt, completions, their tokens, the task's token limit, lighteval's verdict where there is one completion."""


def read_lighteval(path: Path, rows: Sequence[tuple[str, Row]], named: str | None, split: str) -> ForeignFile:
    """Read the rows of a details_*.parquet and, where lighteval left it, its results_*.json.

    Its rows hold prompts, not questions: the benchmark's problems are loaded and looked for in them.

    Raises:
        UserError: the file is something else, the benchmark cannot be had, or a prompt holds none of its questions.
    """
    task = task_of(path)
    benchmark = benchmark_of(task, named)
    if benchmark not in BENCHMARKS and not benchmark.endswith(".jsonl"):
        raise UserError(
            f"{path}: lighteval keeps prompts, not questions, and {task} is no benchmark known here; "
            "name one, or a JSON-lines file of its problems, with --benchmark"
        )
    problems = load(benchmark, split=split).problems
    general = read_results(_lighteval_results(path)).get("config_general") or {}
    config = general.get("model_config") or general
    generation = config.get("generation_parameters") or {}
    found = []
    for prompt, texts, n_tokens, size, score in _lighteval_rows(path, [row for _, row in rows]):
        problem = asked(prompt, problems, path)
        limit = generation.get("max_new_tokens") or size
        scores = [score] if len(texts) == 1 else None
        found.append(Texts(problem=problem, prompt=prompt, texts=texts, n_tokens=n_tokens, limit=limit, scores=scores))
    return ForeignFile(
        path=path,
        task=task,
        benchmark=problems[0].benchmark,
        found=found,
        sampling={
            "temperature": generation.get("temperature"),
            "top_p": generation.get("top_p"),
            "max_tokens": found[0].limit,
            "stop": generation.get("stop_tokens"),
        },
        model={
            "name": general.get("model_name") or path.resolve().parent.parent.name,
            "revision": config.get("revision") or general.get("model_sha"),
            "dtype": config.get("dtype") or general.get("model_dtype"),
            "engine": "lighteval",
            "engine_version": general.get("lighteval_sha"),
        },
        seed=seed_of(generation.get("seed")),
    )


def _lighteval_rows(path: Path, rows: Sequence[Row]) -> list[_Row]:
    names = set(rows[0])
    try:
        if {"doc", "model_response"} <= names:
            return [_row(one["doc"], one["model_response"], one.get("metric")) for one in rows]
        if {"example", "predictions", "cont_tokens"} <= names:
            return [_old_row(one) for one in rows]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read as details of lighteval: {type(error).__name__} {error}") from error
    raise UserError(
        f"{path} has the columns {', '.join(rows[0])}; known are doc and model_response (lighteval 0.13), and example, "
        "predictions and cont_tokens (0.10)"
    )


def _row(doc: dict[str, Any], said: dict[str, Any], metric: Any) -> _Row:
    score = verdict(next(iter(metric.values()), None)) if isinstance(metric, dict) else None
    return _checked(doc["query"], said["text"], said.get("output_tokens"), doc.get("generation_size"), score)


def _old_row(row: Row) -> _Row:
    # one request, with a list of tokens for each of its completions
    tokens = row["cont_tokens"][0] if row["cont_tokens"] else None
    return _checked(row["example"], row["predictions"], tokens, None, None)


def _checked(query: Any, texts: Any, tokens: Any, size: Any, score: bool | None) -> _Row:
    if not isinstance(query, str) or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError("a row holds no text as prompt and list of texts as completions")
    counted = isinstance(tokens, list) and len(tokens) == len(texts) and all(isinstance(ids, list) for ids in tokens)
    return query, list(texts), [len(ids) for ids in tokens] if counted else None, size, score


def _lighteval_results(path: Path) -> Path:
    """Return OUT/results/MODEL/results_DATE.json of OUT/details/MODEL/DATE/details_TASK_DATE.parquet."""
    parts = path.resolve().parts
    date = path.parent.name
    if "details" not in parts:
        return path.with_name(f"results_{date}.json")
    at = len(parts) - 1 - parts[::-1].index("details")
    return Path(*parts[:at], "results", *parts[at + 1 : -2], f"results_{date}.json")
