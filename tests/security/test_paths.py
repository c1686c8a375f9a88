"""Names from outside (policies, graders, runs, benchmark files, problem ids) name files inside the run folder only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from expo_bench.config import EvalConfig
from expo_bench.errors import UserError
from expo_bench.evaluation.planning import _run_name
from expo_bench.grading.stage import grade
from expo_bench.storage.run_folder import RunFolder
from expo_bench.studies.study import Study, runs
from tests.faults.pipeline import write_problems

HOSTILE = (
    "../../up",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/../../b",
    "~/x",
    "nul\0byte",
    "\\..\\up",
    "a" * 300,
    "-rf",
    "é/..",
)
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(alphabet="./\\~a\0-é", max_size=12), st.text(max_size=300))


@given(name=NAMES)
@example(name="../x")
def test_names_stay_below_the_run_folder(name: str) -> None:
    run = RunFolder("/runs/one")
    places = (run.likelihoods_path, run.likelihoods_folder, run.policy_path, run.grades_path)
    for path in [place(name) for place in places]:
        assert Path(os.path.normpath(path)).is_relative_to(run.path), path
        assert path != run.path
        assert "\0" not in str(path)
        assert max(len(part.encode(errors="replace")) for part in path.parts) <= 255


@given(name=NAMES.filter(lambda name: "\0" not in name), model=NAMES.filter(bool))
def test_a_runs_own_name_is_one_plain_folder(name: str, model: str) -> None:
    found = _run_name(EvalConfig(model=model, benchmarks=(f"{name}.jsonl",)))
    assert "/" not in found
    assert "\\" not in found
    assert found not in (".", "..")
    assert len(found.encode(errors="replace")) <= 255


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_a_user_gives_are_refused(tmp_path: Path, name: str) -> None:
    if name == "a" * 300:
        return  # too long a name, but one that goes nowhere
    with pytest.raises(UserError):
        grade(RunFolder(tmp_path), grader=name)
    if name == "-rf":
        return
    with pytest.raises(UserError):
        runs(Study.model_validate({"seeds": [0], "arms": {name: {}}}), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_files_that_try_to_leave_write_nothing_outside(tmp_path: Path) -> None:
    """Problem ids, candidate ids and policies of imported lines, and the name of a benchmark's file."""
    write_problems(tmp_path, 2)
    (tmp_path / "..sums..jsonl").write_text((tmp_path / "sums.jsonl").read_text())
    lines = [
        {"text": "so \\boxed{4}", "question": "Compute 1 + 3 modulo 100 .", "policy": name, "candidate_id": name}
        for name in HOSTILE
    ]
    (tmp_path / "chains.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = {path for path in tmp_path.parent.rglob("*") if "out" not in path.parts}
    command = [sys.executable, "-m", "expo_bench"]
    words = [
        "candidates",
        "-m",
        "micro",
        "--sources",
        "imported",
        "--import",
        "chains.jsonl",
        "-o",
        "out",
        "-b",
        "..sums..jsonl",
    ]
    made = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode in (0, 2)
    assert "Traceback" not in made.stderr, made.stderr
    if made.returncode == 0:
        (tmp_path / "up").symlink_to(Path(__file__).parents[2] / "expo_bench" / "assets" / "micro")
        before.add(tmp_path / "up")
        words = ["likelihood", "out", "-m", "./out/../up"]
        scored = subprocess.run(
            [*command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert scored.returncode == 0, scored.stderr
    assert {path for path in tmp_path.parent.rglob("*") if "out" not in path.parts} == before
