"""Samples in files of any shape, read as a preset or the user's mapping declares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError
from expo_bench.importing.foreign import ForeignFile, Texts, benchmark_of, seed_of, task_of
from expo_bench.problems import BENCHMARKS, Reading, load
from expo_bench.problems.base import BadRow, Entry, Row
from expo_bench.problems.files import SKIP
from expo_bench.problems.identity import with_ids
from expo_bench.problems.loading import rows_of
from expo_bench.problems.reading import containers, values
from expo_bench.problems.reading.entries import each, entry, refuse_bad
from expo_bench.problems.reading.joining import Table, table
from expo_bench.problems.reading.mapping import FieldMap
from expo_bench.problems.reading.paths import Place
from expo_bench.problems.reading.presets import choose
from expo_bench.problems.reading.refusals import advice
from expo_bench.rows import Problem

_SAMPLING = ("temperature", "top_p", "max_tokens")


@dataclass(slots=True, kw_only=True)
class _Found:
    """What the rows of one problem say; a list has an element a completion."""

    entry: Entry
    prompt: str
    texts: list[str | None] = field(default_factory=list)
    scores: list[bool | None] = field(default_factory=list)
    tokens: list[int | None] = field(default_factory=list)
    cut_off: list[bool] = field(default_factory=list)


def read_mapped(
    path: Path, rows: Sequence[tuple[str, Row]], reading: Reading, named: str | None, model: str | None, split: str
) -> ForeignFile:
    """Read a file by its mapping; rows with the same id, question and gold answer are samples of one problem.

    Args:
        path: the file.
        rows: its rows with their places, at least one.
        reading: what the user declared.
        named: the benchmark, where the user names it; its problems are looked for where the rows have no gold answer.
        model: the policy, where the user names it.
        split: of the benchmark.

    Raises:
        UserError: the file is unknown and nothing is declared, or a row cannot be read.
    """
    first = rows[0][1]
    mapping = choose(reading, "samples", [row for _, row in rows], None)
    if mapping is None or not mapping.has("text"):
        raise UserError(f"{path} is no file of samples that is known here; {advice('samples', first, mapping)}")
    other = reading.join or (named if named in BENCHMARKS and mapping.has("key") else None)
    joined = table(other, rows_of(other), mapping) if other else None
    bad: list[tuple[str, str]] = []
    read = [found for _, found in each(rows, mapping, partial(_read_row, mapping, joined), bad)]
    if not any(one.texts and any(text is not None for text in one.texts) for _, one in read):
        where, reason = bad[0] if bad else (rows[0][0], "has no completion")
        raise UserError(f"{where}: {reason}; {advice('samples', first, mapping)}")
    left_out = refuse_bad(bad, len(read) + len(bad), reading.skip_bad_rows, SKIP)
    place = next(mapping.expand(first, 0), Place(row=first, whole=first, number=0))
    task = str(mapping.value("benchmark", place) or task_of(path)).rpartition("/")[2]
    benchmark = benchmark_of(task, named if named is None or named in BENCHMARKS else Path(named).stem)
    grouped = _grouped(read)
    problems = _problems(path, grouped, benchmark, named, split)
    unanswered = sum(not one.answer for one in problems)
    warnings = [f"{path}: {len(left_out)} rows are left out, the first: {left_out[0]}"] if left_out else []
    if unanswered:
        warnings.append(
            f"{path}: {unanswered} of {len(problems)} problems have no gold answer, so nothing of them can be graded: "
            "say where it stands with --map answer=PATH or --join, or name their benchmark with --benchmark"
        )
    return ForeignFile(
        path=path,
        task=task,
        benchmark=problems[0].benchmark,
        found=[_texts(problem, one) for problem, one in zip(problems, grouped, strict=True)],
        sampling={**{name: _number(mapping.value(name, place)) for name in _SAMPLING}, "stop": None},
        model={
            "name": model or str(mapping.value("model", place) or path.resolve().parent.name),
            "revision": None,
            "dtype": None,
            "engine": f"read by {mapping.name}",
            "engine_version": None,
        },
        seed=seed_of(mapping.value("seed", place)),
        mapping=mapping.described(),
        warnings=warnings,
    )


def attempts(path: Path, reading: Reading) -> list[dict[str, Any]]:
    """Return answer, text, score, finish_reason and place of each completion of a file; as `read_mapped`.

    Raises:
        UserError: as `read_mapped`; a row without a completion or a gold answer counts as one that cannot be read.
    """
    rows = list(containers.read(path))
    mapping = choose(reading, "samples", [row for _, row in rows], None) if rows else None
    if mapping is None or not mapping.has("text") or not mapping.has("answer"):
        raise UserError(f"{path}: {advice('samples', rows[0][1] if rows else {}, mapping)}")
    joined = table(reading.join, rows_of(reading.join), mapping) if reading.join else None

    def row(place: Place) -> list[dict[str, Any]]:
        place = joined.join(mapping, place) if joined else place
        gold = values.gold_answer(mapping.value("answer", place))
        texts = values.completion_texts(mapping.value("text", place))
        if not gold or any(text is None for text in texts):
            raise BadRow("has no completion" if gold else "has no gold answer")
        scores = _aligned(mapping.value("score", place), len(texts), values.verdict)
        ended = _aligned(mapping.value("finish", place), len(texts), values.is_cut_off)
        return [
            {"answer": gold, "text": text, "score": score, "finish_reason": "length" if cut else "stop"}
            for text, score, cut in zip(texts, scores, ended, strict=True)
        ]

    bad: list[tuple[str, str]] = []
    found = [{"place": place, **one} for place, read in each(rows, mapping, row, bad) for one in read]
    if not found:
        raise UserError(f"{bad[0][0]}: {bad[0][1]}; {advice('samples', rows[0][1], mapping)}")
    refuse_bad(bad, len(rows), reading.skip_bad_rows, SKIP)
    return found


def _read_row(mapping: FieldMap, joined: Table | None, place: Place) -> tuple[str, _Found]:
    """Return a key of the row's problem, and what the row says."""
    place = joined.join(mapping, place) if joined else place
    problem = entry(mapping, place)
    texts = values.completion_texts(mapping.value("text", place))
    if not texts:
        raise BadRow("has no completion")
    prompt = values.question_text(mapping.value("prompt", place), "prompt") or problem.question
    found = _Found(entry=problem, prompt=prompt, texts=texts)
    found.scores = _aligned(mapping.value("score", place), len(texts), values.verdict)
    found.tokens = _aligned(mapping.value("tokens", place), len(texts), values.token_count)
    found.cut_off = [bool(one) for one in _aligned(mapping.value("finish", place), len(texts), values.is_cut_off)]
    return f"{mapping.value('id', place)}\n{problem.question}\n{problem.answer}", found


def _aligned(value: Any, size: int, read: Callable[[Any], Any]) -> list[Any]:
    """Return an element a completion; nothing is known of any where their number is another one."""
    if isinstance(value, list) and len(value) == size and not (size == 1 and read(value) is not None):
        return [read(one) for one in value]
    return [read(value)] if size == 1 else [None] * size


def _grouped(read: Sequence[tuple[str, _Found]]) -> list[_Found]:
    groups: dict[str, _Found] = {}
    for key, one in read:
        there = groups.get(key)
        if there is None:
            groups[key] = one
            continue
        there.texts += one.texts
        there.scores += one.scores
        there.tokens += one.tokens
        there.cut_off += one.cut_off
    return list(groups.values())


def _problems(path: Path, grouped: Sequence[_Found], benchmark: str, named: str | None, split: str) -> list[Problem]:
    """Return the problems of the rows; where none has a gold answer, those of the named benchmark that they ask."""
    if named is not None and not any(one.entry.answer for one in grouped):
        known = load(named, split=split).problems
        return [asked(one.prompt, known, path) for one in grouped]
    return with_ids([one.entry for one in grouped], benchmark, split)


def asked(prompt: str, problems: Sequence[Problem], path: Path) -> Problem:
    """Return the problem whose question stands in the prompt; the longest, where one question holds another.

    Raises:
        UserError: there is none.
    """
    inside = [problem for problem in problems if problem.question in prompt]
    if not inside:
        raise UserError(
            f"{path}: no question of {problems[0].benchmark} stands in the prompt {prompt[:60]!r}...; "
            f"name the right benchmark with --benchmark, or another split than {problems[0].split} with --split"
        )
    return max(inside, key=lambda problem: len(problem.question))


def _texts(problem: Problem, found: _Found) -> Texts:
    tokens = [count for count in found.tokens if count is not None]
    return Texts(
        problem=replace(problem),
        prompt=found.prompt,
        texts=found.texts,
        n_tokens=tokens if len(tokens) == len(found.texts) else None,
        scores=found.scores,
        cut_off=found.cut_off,
    )


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
