"""The stage from samples to grades, and the grading of anyone's completions."""

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from expo_bench.errors import UserError
from expo_bench.grading.judge import GRADER, Attempt, Judge, Verdict
from expo_bench.grading.misread import Misread
from expo_bench.grading.rivals import RIVALS
from expo_bench.rows import Grade, solved
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder

_BATCH = 256

Judged = tuple[str, int, Verdict]
"""Problem id, sample index, and what became of the sample."""


def grade(
    run: RunFolder,
    *,
    judge: Judge | None = None,
    grader: str = GRADER,
    on_grade: Callable[[bool | None], None] | None = None,
) -> Counter[str]:
    """Grade the samples that this grader has not graded yet; return how many have which status, old grades included.

    The verdicts of other graders stay as they are. Texts are read one after the other.

    Args:
        run: its file of grades is appended to; the caller holds its lock.
        judge: stays open; by default one is opened for this run.
        grader: name of the verdicts and of their file; one of `rivals.RIVALS` judges by that one's rules.
        on_grade: called for each grade with whether the problem was solved, which a chain that was cut off or has no
            answer did not; None where nobody can tell.

    Raises:
        UserError: a sample belongs to no problem of the run, a file is damaged, or `grader` is no name for a file.
    """
    if not re.fullmatch(r"\w[\w.+-]*", grader):
        raise UserError(f"{grader!r} cannot name a grades file; use letters, digits, points and dashes")
    counts = Counter[str]()
    done: dict[str, int] = {}  # problem -> bit set of sample indexes

    def count(one: Grade | Verdict) -> None:
        counts[one.status] += 1
        if on_grade:
            on_grade(solved(one.status, one.correct))

    with _open(judge) as judge, Appender(run.grades_path(grader)) as grades:
        classes = _Classes(judge)
        for row in run.grades(grader):
            done[row.problem_id] = done.get(row.problem_id, 0) | 1 << row.sample_index
            classes.remember(row)
            count(row)
        if all(done.get(problem_id, 0) >> index & 1 for problem_id, index, _ in run.sample_keys()):
            return counts
        batch: list[Judged] = []
        for judged in _judge_samples(run, done, judge, grader):
            count(judged[-1])
            batch.append(judged)
            if len(batch) == _BATCH:
                grades.append(_rows(batch, classes, grader))
                batch.clear()
        grades.append(_rows(batch, classes, grader))
    return counts


def grade_lines(
    lines: Iterable[str | bytes], judge: Judge | None = None, told: Misread | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a verdict for each JSON line that has "answer" (gold) and "text" (a completion), in order.

    A line's other fields go along; "problem" is the problem's text, an answer copied from it is none, and
    "finish_reason": "length" marks a text that was cut off. Blank lines are left out. `told` counts what
    was not understood.

    Raises:
        UserError: a line is something else; the verdicts of the lines before it have been yielded.
    """
    others: deque[tuple[Attempt, dict[str, Any]]] = deque()
    failures: list[UserError] = []

    def attempts() -> Iterator[Attempt]:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                attempt, other = _read_line(line)
            except (ValueError, RecursionError) as error:
                failures.append(UserError(f"line {number}: {error}"))
                return
            others.append((attempt, other))
            yield attempt

    with _open(judge) as judge:
        for verdict in judge.judge_many(attempts()):
            attempt, other = others.popleft()
            if told is not None:
                told.add(verdict.status, attempt.gold, attempt.text)
            yield other | {
                "status": verdict.status,
                "correct": verdict.correct,
                "extracted": verdict.extracted,
                "seconds": round(verdict.seconds, 4),
            }
    if failures:
        raise failures[0]


def _open(judge: Judge | None) -> AbstractContextManager[Judge]:
    return Judge() if judge is None else nullcontext(judge)


def _judge_samples(run: RunFolder, done: dict[str, int], judge: Judge, grader: str) -> Iterator[Judged]:
    problems = {problem.problem_id: problem for problem in run.problems()}
    keys: deque[tuple[str, int]] = deque()

    def attempts() -> Iterator[Attempt]:
        for sample in run.samples():
            if sample.problem_id not in problems:
                raise UserError(f"{run.samples_path}: no problem {sample.problem_id} in {run.problems_path}")
            before = done.get(sample.problem_id, 0)
            if before >> sample.sample_index & 1:
                continue
            done[sample.problem_id] = before | 1 << sample.sample_index
            keys.append((sample.problem_id, sample.sample_index))
            yield Attempt(
                gold=problems[sample.problem_id].answer,
                problem=problems[sample.problem_id].question,
                text=sample.text,
                truncated=sample.finish_reason == "length",
                error=sample.finish_reason == "error" or sample.error is not None,
            )

    verdicts = judge.judge_by(grader, attempts()) if grader in RIVALS else judge.judge_many(attempts())
    for verdict in verdicts:
        yield *keys.popleft(), verdict


def _rows(batch: Sequence[Judged], classes: "_Classes", grader: str) -> list[Grade]:
    return [
        Grade(
            problem_id=problem_id,
            sample_index=sample_index,
            grader=grader,
            status=verdict.status,
            correct=verdict.correct,
            extracted=verdict.extracted,
            answer_class=answer_class,
            seconds=verdict.seconds,
        )
        for (problem_id, sample_index, verdict), answer_class in zip(batch, classes.assign(batch), strict=True)
    ]


class _Classes:
    """The answers of each problem, sorted into classes of equivalent ones; a class is named by its first sample."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._right: dict[str, int] = {}
        self._wrong: dict[str, dict[str, int]] = {}
        """Problem -> answer as written -> class."""
        self._first: dict[str, dict[int, str]] = {}
        """Problem -> class of wrong answers -> its first answer."""

    def remember(self, row: Grade) -> None:
        """Take in a grade that was given before."""
        if row.answer_class is not None and row.extracted is not None:
            self._add(row.problem_id, row.extracted.strip(), bool(row.correct), row.answer_class)

    def assign(self, batch: Sequence[Judged]) -> list[int | None]:
        """Return the class of each answer; None where nothing was graded."""
        equivalent = self._compare(batch)
        classes: list[int | None] = []
        for problem_id, sample_index, verdict in batch:
            if verdict.status != "graded" or verdict.extracted is None:
                classes.append(None)
                continue
            answer = verdict.extracted.strip()
            if verdict.correct:
                found = self._right.get(problem_id)
            else:
                found = self._wrong.get(problem_id, {}).get(answer)
                if found is None:
                    firsts = self._first.get(problem_id, {})
                    found = next((name for name, first in firsts.items() if (first, answer) in equivalent), None)
            name = sample_index if found is None else found
            self._add(problem_id, answer, bool(verdict.correct), name)
            classes.append(name)
        return classes

    def _add(self, problem_id: str, answer: str, correct: bool, name: int) -> None:
        if correct:
            self._right.setdefault(problem_id, name)
        else:
            self._wrong.setdefault(problem_id, {}).setdefault(answer, name)
            self._first.setdefault(problem_id, {}).setdefault(name, answer)

    def _compare(self, batch: Sequence[Judged]) -> set[tuple[str, str]]:
        """Return the pairs (first answer of a class, new answer) that are equivalent, all compared in one go."""
        pairs: list[tuple[str, str]] = []
        new: dict[str, dict[str, None]] = {}
        for problem_id, _, verdict in batch:
            if verdict.status != "graded" or verdict.correct or verdict.extracted is None:
                continue
            answer = verdict.extracted.strip()
            earlier = new.setdefault(problem_id, {})
            if answer not in earlier and answer not in self._wrong.get(problem_id, {}):
                firsts = self._first.get(problem_id, {}).values()
                pairs += [(first, answer) for first in (*firsts, *earlier)]
                earlier[answer] = None
        return {pair for pair, equal in zip(pairs, self._judge.equivalent(pairs), strict=True) if equal}


def _read_line(line: str | bytes) -> tuple[Attempt, dict[str, Any]]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError('not a JSON object with "answer" and "text"')
    gold, text = row.pop("answer", None), row.pop("text", None)
    if isinstance(gold, (int, float)) and not isinstance(gold, bool):
        gold = str(gold)
    if not isinstance(gold, str) or not isinstance(text, str):
        raise ValueError(
            '"answer" (text or a number) and "text" (text) must be there, or say which fields they are: '
            "--map answer=PATH --map text=PATH"
        )
    problem = row.get("problem")
    attempt = Attempt(
        gold=gold,
        text=text,
        problem=problem if isinstance(problem, str) else "",
        truncated=row.get("finish_reason") == "length",
    )
    # half a surrogate pair could not be printed again
    return attempt, json.loads(json.dumps(row, ensure_ascii=False).encode(errors="replace"))
