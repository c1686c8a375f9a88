from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.grading.disagreement import disagreements
from expo_bench.grading.judge import GRADER, Judge
from expo_bench.grading.rivals import HENDRYCKS, MATH_VERIFY, RIVALS, hendrycks_string, math_verify_plain
from expo_bench.grading.stage import grade
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests import fakes


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        (r"\frac{1}{2}", r"\boxed{\dfrac12}", True), (r"\frac{1}{2}", r"\boxed{0.5}", True),
        ("5", r"\boxed{k = 5}", True),
        ("15", r"\boxed{15\text{ cm}}", True), ("x+1", r"\boxed{1+x}", False), ("5", "The answer is 5", False),
    ],
)  # fmt: skip
def test_hendrycks(gold: str, text: str, right: bool) -> None:
    assert hendrycks_string(gold, text) is right


def test_plain_math_verify() -> None:
    assert math_verify_plain("x+1", r"\boxed{1+x}")
    assert not math_verify_plain("x+1", r"\boxed{x+2}")


def test_graders_side_by_side(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    golds = ["x+1", "5", "7", "24"]
    texts = [r"\boxed{1+x}", r"\boxed{5}", r"\boxed{8}", r"$\boxed{24 \text{ million}}$"]
    run.write_problems(fakes.problem(number, answer=gold) for number, gold in enumerate(golds))
    with Appender(run.samples_path) as file:
        file.append([fakes.sample(number, text=text) for number, text in enumerate(texts)])
    with Judge(workers=1, cpu_seconds=10.0, timeout_seconds=60.0) as judge:
        for grader in (GRADER, *RIVALS):
            grade(run, judge=judge, grader=grader)
    found = {one.other: (one.n_samples, one.only_grader, one.only_other) for one in disagreements(run, GRADER)}
    # math-verify cuts the words as a unit, the string rule does not know that sums commute
    assert found == {MATH_VERIFY: (4, 0, 1), HENDRYCKS: (4, 1, 1)}


def test_an_evaluation_by_several_graders(tmp_path: Path) -> None:
    words = ["eval", "-m", "micro", "-b", "micro", "--limit", "2", "-n", "1", "--max-tokens", "32", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, [*words, "--graders", f"{GRADER},{HENDRYCKS}"])
    assert done.exit_code == 0, done.output
    assert set(RunFolder(tmp_path).graders()) == {GRADER, HENDRYCKS}
    assert HENDRYCKS in (tmp_path / "report.html").read_text()
    refused = CliRunner().invoke(app, [*words, "--graders", "nobody"])
    assert "no grader 'nobody'" in str(refused.exception)
