import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.grading.judge import GRADER, Judge
from expo_bench.grading.misread import holds_gold, misread, unread_golds
from expo_bench.grading.stage import grade
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests import fakes


@pytest.mark.parametrize(
    ("text", "gold", "holds"),
    [
        ("so it is 12, I think", "12", True), ("so it is 12.", "12", True), ("125", "12", False), ("0.12", "12", False),
        ("12.5 or 12", "12", True), ("1,234", "234", False), (r"thus $\frac12$ then", r"\frac12", True),
        ("", "", False),
    ],
)  # fmt: skip
def test_holds_gold(text: str, gold: str, holds: bool) -> None:
    assert holds_gold(text, gold) is holds


def graded(path: Path, texts: list[str], golds: list[str]) -> RunFolder:
    run = RunFolder(path)
    run.write_problems(fakes.problem(number, answer=gold) for number, gold in enumerate(golds))
    with Appender(run.samples_path) as file:
        file.append([fakes.sample(number, text=text) for number, text in enumerate(texts)])
    with Judge(workers=1, cpu_seconds=5.0, timeout_seconds=60.0) as judge:
        grade(run, judge=judge)
    return run


def test_a_run_that_is_mostly_not_understood_says_so(tmp_path: Path) -> None:
    texts = ["It comes to 1", "It comes to 7", r"\boxed{3}"]
    found = misread(graded(tmp_path, texts, ["1", "2", "3"]), GRADER)
    assert found is not None
    (first, ends), (second, _) = found.lines()
    assert first == "No answer was found in 2 of 3 samples (67%). Their ends:"
    assert ends == ["… It comes to 1", "… It comes to 7"]
    assert second.startswith("1 of 2 samples without an answer hold the gold answer")


def test_gold_answers_that_cannot_be_read(tmp_path: Path) -> None:
    found = misread(graded(tmp_path, [r"\boxed{1}"], [r"\frac{1}{"]), GRADER)
    assert found is not None and found.lines() == [
        ("The gold answer cannot be read for 1 of 1 samples (100%), such as:", [r"\frac{1}{"])
    ]


def test_nothing_is_said_of_a_run_that_is_understood(tmp_path: Path) -> None:
    assert misread(graded(tmp_path, [r"\boxed{1}", r"\boxed{5}"], ["1", "2"]), GRADER) is None


def test_gold_answers_that_cannot_be_read_are_told_before_sampling() -> None:
    line = unread_golds(["1", "", r"\frac{1}{", "the (number of", "x", "B"])
    assert line is not None and line.startswith("1 of 5 gold answers cannot be read") and "frac" in line
    assert unread_golds(["1", "C"]) is None


def test_grade_tells_what_it_did_not_understand_of_a_file(tmp_path: Path) -> None:
    rows = [
        {"answer": "7", "text": "so 7 it is"},
        {"answer": "8", "text": "\\boxed{8}"},
        {"answer": "9", "text": "well"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = CliRunner().invoke(app, ["grade", str(path)])
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 3
    assert "No answer was found in 2 of 3 samples (67%)" in done.stderr and "so 7 it is" in done.stderr
    assert "1 of 2 samples without an answer hold the gold answer" in done.stderr
    path.write_text(json.dumps(rows[1]) + "\n")
    assert CliRunner().invoke(app, ["grade", str(path)]).stderr == ""
