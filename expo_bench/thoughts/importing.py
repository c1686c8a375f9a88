"""Published files of long thoughts -> thoughts: rows that hold a problem and one text with thought and solution."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError, reason
from expo_bench.grading.judge import Attempt, Judge
from expo_bench.problems import Reading, fields
from expo_bench.problems.base import BadRow
from expo_bench.problems.loading import rows_of
from expo_bench.problems.reading import containers, values
from expo_bench.problems.reading.joining import table
from expo_bench.problems.reading.mapping import FieldMap
from expo_bench.problems.reading.paths import Place
from expo_bench.problems.reading.presets import choose
from expo_bench.problems.reading.refusals import advice
from expo_bench.rows import Problem, Thought
from expo_bench.thoughts.format import join

_QUESTION = ("question", "problem", "prompt", "query", "instruction")
_TEXT = ("combined_text", "text", "response", "output", "completion")


def read_thoughts(
    file: Path, *, benchmark: str, problems: Sequence[Problem] = (), reading: Reading | None = None
) -> tuple[list[Thought], Counter[str]]:
    """Return the thoughts of a file or folder, whatever holds its rows, and how many rows were left out, by reason.

    A row holds a question (or problem, prompt, query, instruction) and either one text with all tags (combined_text,
    text, response, output, completion) or the two fields thought and solution; answer and level if it likes. Where
    they stand elsewhere, `reading` declares it.

    Args:
        file: what was published.
        benchmark: name for problems that are not among `problems`.
        problems: where a question is one of theirs, id, gold answer and level are taken from there.
        reading: what the user declared of the rows.

    Raises:
        UserError: unreadable file or malformed JSON; the line names the place.
    """
    known = {problem.question.strip(): problem for problem in problems}
    found: dict[str, Thought] = {}
    left_out: Counter[str] = Counter()
    for place, row in _declared(file, reading, left_out) if reading and reading.is_declared else _rows(file):
        try:
            thought = _thought(row, known, benchmark, f"{file.name}:{place}")
        except BadRow as error:
            left_out[f"unusable row: {error}"] += 1
            continue
        left_out["comes twice"] += thought.thought_id in found
        found.setdefault(thought.thought_id, thought)
    return list(found.values()), +left_out


def right_thoughts(rows: Iterable[Thought], judge: Judge) -> tuple[list[Thought], Counter[str]]:
    """Return the thoughts whose solution gives the gold answer, or whose gold answer is not known; count the others."""
    listed = list(rows)
    labelled = [row for row in listed if row.answer]
    attempts = (Attempt(gold=row.answer, problem=row.question, text=row.text) for row in labelled)
    wrong = {
        row.thought_id: "the answer is not the gold answer"
        if verdict.status == "graded"
        else f"answer: {verdict.status}"
        for row, verdict in zip(labelled, judge.judge_many(attempts), strict=True)
        if not verdict.correct
    }
    return [row for row in listed if row.thought_id not in wrong], Counter(wrong.values())


def of_solutions(problems: Iterable[Problem], origin: str) -> list[Thought]:
    """Return expert solutions in the format of thoughts: the chain is the thought, its last line the solution.

    They are as short as the solutions are. What they teach is the format.
    """
    found = []
    for problem in problems:
        if problem.solution and problem.answer:
            text = join(problem.solution.strip(), f"The final answer is \\boxed{{{problem.answer}}}.")
            found.append(distilled(problem, text, origin))
    return found


def distilled(problem: Problem, text: str, origin: str) -> Thought:
    """Return a thought about a problem that some other reasoner wrote."""
    digest = hashlib.sha256(f"{problem.question}\n{text}".encode()).hexdigest()[:12]
    return Thought(
        thought_id=f"distilled-{digest}",
        problem_id=problem.problem_id,
        benchmark=problem.benchmark,
        question=problem.question,
        answer=problem.answer,
        level=problem.level,
        text=text,
        token_ids=None,
        source="distilled",
        round=0,
        n_tokens=None,
        perplexity=None,
        policy=None,
        origin=origin,
    )


def _thought(row: Any, known: dict[str, Problem], benchmark: str, origin: str) -> Thought:
    if not isinstance(row, dict):
        raise BadRow("no object")
    question = fields.required(row, *_QUESTION)
    if "thought" in row and "solution" in row:
        text = join(fields.required(row, "thought"), fields.required(row, "solution"))
    else:
        text = fields.required(row, *_TEXT)
    problem = known.get(question) or Problem(
        problem_id=f"{benchmark}-{hashlib.sha256(question.encode()).hexdigest()[:12]}",
        benchmark=benchmark,
        split="train",
        question=question,
        answer=fields.answer(row),
        level=fields.level(row),
    )
    return distilled(problem, text, origin)


def _declared(file: Path, reading: Reading, left_out: Counter[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows with the names that are read here."""
    rows = list(containers.read(file))
    if not rows:
        return
    mapping = choose(reading, "thoughts", [row for _, row in rows], None) or FieldMap()
    if not mapping.has("question") or not (mapping.has("text") or mapping.has("thought")):
        raise UserError(f"{file}: {advice('thoughts', rows[0][1], mapping)}")
    joined = table(reading.join, rows_of(reading.join), mapping) if reading.join else None
    for number, (_, row) in enumerate(rows, start=1):
        for place in mapping.expand(row, number - 1):
            try:
                yield from ((number, one) for one in _named(mapping, joined.join(mapping, place) if joined else place))
            except BadRow as error:
                left_out[f"unusable row: {error}"] += 1


def _named(mapping: FieldMap, place: Place) -> list[dict[str, Any]]:
    shared = {
        "question": values.question_text(mapping.value("question", place), "question"),
        "answer": values.gold_answer(mapping.value("answer", place)),
        "level": mapping.value("level", place),
    }
    if mapping.has("thought"):
        return [shared | {name: mapping.value(name, place) for name in ("thought", "solution")}]
    return [{**shared, "text": text} for text in values.completion_texts(mapping.value("text", place))]


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    if file.is_dir() or (file.is_file() and not _is_json(file)):
        yield from ((number, row) for number, (_, row) in enumerate(containers.read(file), start=1))
        return
    try:
        with file.open(encoding="utf-8-sig") as lines:
            if lines.read(256).lstrip().startswith("["):
                lines.seek(0)
                yield from enumerate(json.load(lines), start=1)
                return
            lines.seek(0)
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, _parsed(line, f"{file}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON ({error}); JSON lines or one array of objects is wanted") from error


def _is_json(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[", b"")


def _parsed(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not JSON ({error})") from error
