import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from expo_bench.errors import UserError
from expo_bench.grading.judge import GRADER, Judge
from expo_bench.grading.stage import grade, grade_lines
from expo_bench.rows import STATUSES, Grade, Problem, Sample
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests import fakes


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(workers=1, timeout_seconds=60.0, cpu_seconds=5.0) as judge:
        yield judge


def make_run(path: Path, golds: list[str], samples: list[Sample]) -> RunFolder:
    run = RunFolder(path)
    run.write_problems(fakes.problem(number, answer=gold) for number, gold in enumerate(golds))
    with Appender(run.samples_path) as file:
        file.append(samples)
    return run


def boxed(number: int, index: int, answer: str, **fields: object) -> Sample:
    return fakes.sample(number, index, text=f"\\boxed{{{answer}}}", **fields)


def by_key(rows: Iterator[Grade]) -> dict[tuple[str, int], Grade]:
    rows_list = list(rows)
    found = {(row.problem_id, row.sample_index): row for row in rows_list}
    assert len(found) == len(rows_list)
    return found


def test_every_sample_gets_a_grade(tmp_path: Path, judge: Judge) -> None:
    samples = [
        boxed(0, 0, "x+1"),
        boxed(0, 1, "x+2", finish_reason="length"),
        fakes.sample(0, 2, text="I give up."),
        fakes.sample(0, 3, text="The answer is 1", finish_reason="length"),
        fakes.sample(0, 4, text="", finish_reason="error", error="the server went away"),
        boxed(0, 5, "9^{9^{9^9}}"),
        boxed(1, 0, "5"),
    ]
    run = make_run(tmp_path, ["1+x", "\\frac{1}{"], samples)
    solved: list[bool | None] = []
    counts = grade(run, judge=judge, on_grade=solved.append)
    grades = by_key(run.grades(GRADER))
    # of the grades without a verdict, those of no answer and of a cut-off chain tell that the problem was not solved
    assert solved == [True, False, False, False, None, None, None]
    assert [grades[sample.problem_id, sample.sample_index].status for sample in samples] == [
        "graded",
        "graded",
        "no_answer",
        "truncated",
        "error",
        "timeout",
        "bad_gold",
    ]
    assert counts == Counter(row.status for row in grades.values())
    assert set(counts) == set(STATUSES) - {"copied"}
    assert all(row.grader == GRADER and row.seconds >= 0 for row in grades.values())
    assert [row.correct for row in grades.values()] == [True, False, None, None, None, None, None]
    assert [row.answer_class for row in grades.values()] == [0, 1, None, None, None, None, None]


def test_answers_fall_into_classes(tmp_path: Path, judge: Judge) -> None:
    answers = ["7", "3.5", "x=7", r"\frac{7}{2}", "8", " 8", "7.0", "(8)", "nonsense {", "9", "nonsense {", "6+3"]
    run = make_run(tmp_path, ["7", "1"], [boxed(n, i, a) for i, a in enumerate(answers) for n in (1, 0)])
    grade(run, judge=judge)
    classes = {key: row.answer_class for key, row in by_key(run.grades(GRADER)).items()}
    seven, one = fakes.problem(0).problem_id, fakes.problem(1).problem_id
    expected = [0, 1, 0, 1, 4, 4, 0, 4, 8, 9, 8, 9]
    assert [classes[seven, index] for index in range(len(answers))] == expected
    assert [classes[one, index] for index in range(len(answers))] == expected


def test_classes_do_not_depend_on_where_a_run_was_stopped(tmp_path: Path, judge: Judge) -> None:
    answers = ["a", "b", "2a", "a+a", "b+0", "c", "2c/2", "a", "b", "d"] * 3
    samples = [boxed(0, index, answer) for index, answer in enumerate(answers)]
    whole = make_run(tmp_path / "whole", ["a"], samples)
    grade(whole, judge=judge)
    parts = make_run(tmp_path / "parts", ["a"], samples[:2])
    for start, stop in itertools.pairwise((2, 5, 6, 20, 30)):
        grade(parts, judge=judge)
        with Appender(parts.samples_path) as file:
            file.append(samples[start:stop])
    grade(parts, judge=judge)
    assert _verdicts(parts) == _verdicts(whole)


def _verdicts(run: RunFolder) -> list[tuple[int, bool | None, int | None]]:
    return [(row.sample_index, row.correct, row.answer_class) for row in run.grades(GRADER)]


def test_resume_adds_what_is_missing(tmp_path: Path, judge: Judge) -> None:
    run = make_run(tmp_path, ["1", "2"], [boxed(n, i, str(i)) for n in range(2) for i in range(600)])
    grade(run, judge=judge)
    path = run.grades_path(GRADER)
    whole = path.read_bytes()
    torn = whole[: len(whole) * 2 // 3]
    path.write_bytes(torn)
    calls: list[bool | None] = []
    assert grade(run, judge=judge, on_grade=calls.append) == {"graded": 1200}
    assert path.read_bytes().startswith(torn.rpartition(b"\n")[0])
    assert len(by_key(run.grades(GRADER))) == 1200
    # a right one of each problem, whether it was graded before or now
    assert (len(calls), calls.count(True)) == (1200, 2)
    before = path.read_bytes()
    grade(run, judge=judge)
    assert path.read_bytes() == before


def test_another_grader_writes_another_file(tmp_path: Path, judge: Judge) -> None:
    run = make_run(tmp_path, ["1"], [boxed(0, 0, "1")])
    grade(run, judge=judge)
    before = run.grades_path(GRADER).read_bytes()
    grade(run, judge=judge, grader="again-2")
    assert run.graders() == sorted([GRADER, "again-2"])
    assert run.grades_path(GRADER).read_bytes() == before
    assert [row.grader for row in run.grades("again-2")] == ["again-2"]
    with pytest.raises(UserError, match="cannot name a grades file"):
        grade(run, judge=judge, grader="../samples")


def test_a_sample_without_its_problem(tmp_path: Path, judge: Judge) -> None:
    run = make_run(tmp_path, ["1"], [boxed(0, 0, "1"), boxed(5, 0, "1")])
    with pytest.raises(UserError, match="no problem toy-000000000005"):
        grade(run, judge=judge)


def test_texts_are_streamed(tmp_path: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, ["1"], [])
    alive: set[int] = set()
    most = 0

    class Text(str):
        def __del__(self) -> None:
            alive.discard(id(self))

    def samples(_: RunFolder) -> Iterator[Sample]:
        nonlocal most
        for index in range(5000):
            text = Text("\\boxed{1}")
            alive.add(id(text))
            most = max(most, len(alive))
            yield boxed(0, index, "1") if index % 2 else fakes.sample(0, index, text=text)

    monkeypatch.setattr(RunFolder, "samples", samples)
    monkeypatch.setattr(RunFolder, "sample_keys", lambda _: iter([(fakes.sample(0, 0).problem_id, 0, False)]))
    assert grade(run, judge=judge) == {"graded": 5000}
    assert most < 20


def test_grade_of_a_problem_without_gold(tmp_path: Path, judge: Judge) -> None:
    run = RunFolder(tmp_path)
    run.write_problems([Problem(problem_id="p-1", benchmark="p", split="test", question="?", answer="")])
    with Appender(run.samples_path) as file:
        file.append([fakes.sample(problem_id="p-1")])
    assert grade(run, judge=judge) == {"bad_gold": 1}


def test_grade_lines(judge: Judge) -> None:
    lines = [
        {"id": 1, "answer": "1/2", "text": r"\boxed{0.5}"},
        {"id": 2, "answer": 42, "text": "Answer: 42", "model": {"name": "m"}},
        {"answer": "7", "text": "The answer is 7", "finish_reason": "length"},
        {"answer": "7", "text": "no idea", "status": "mine"},
    ]
    found = list(grade_lines(["\n", *(json.dumps(line) + "\n" for line in lines), "  \n"], judge))
    assert all(row.pop("seconds") >= 0 for row in found)
    assert found == [
        {"id": 1, "status": "graded", "correct": True, "extracted": "0.5"},
        {"id": 2, "model": {"name": "m"}, "status": "graded", "correct": True, "extracted": "42"},
        {"finish_reason": "length", "status": "truncated", "correct": None, "extracted": None},
        {"status": "no_answer", "correct": None, "extracted": None},
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[1]",
        b'{"answer": "1"}',
        b'{"text": "1"}',
        b'{"answer": null, "text": "1"}',
        b'{"answer": true, "text": "1"}',
        b'{"answer": "1", "text": 1}',
        b"\xff\xfe{",
        b"[" * 100_000,
    ],
)
def test_a_bad_line_is_named_after_the_verdicts_before_it(line: bytes, judge: Judge) -> None:
    good = b'{"answer": "1+m", "text": "\\\\boxed{m+1}"}\n'
    stream = grade_lines([good, good, line, good], judge)
    assert [next(stream)["correct"], next(stream)["correct"]] == [True, True]
    with pytest.raises(UserError, match="line 3: "):
        next(stream)


def test_verdicts_can_be_printed(judge: Judge) -> None:
    line = '{"answer": "1", "text": "\\\\boxed{\\ud800}", "id": "\\ud800", "n": ["\\udfff"]}'
    (found,) = grade_lines([line], judge)
    json.dumps(found, ensure_ascii=False).encode()
