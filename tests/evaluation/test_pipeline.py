"""The whole pipeline on the micro world, through the command line, as a user runs it."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from expo_bench.grading.judge import GRADER
from expo_bench.storage.row_files import encode
from expo_bench.storage.run_folder import RunFolder
from tests.command_line import run

COMMAND = str(Path(sys.executable).with_name("expo-bench"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    words = ["eval", "-m", "micro", "-b", "micro", "-n", "4", "--max-tokens", "64", "-o", "run", "--json"]
    # a process of its own: what libraries print when they are imported would stand on standard output
    done = subprocess.run([COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "metrics.txt").write_text(done.stdout)
    return folder


def test_json_is_all_that_stands_on_standard_output(finished: Path) -> None:
    printed = json.loads((finished / "metrics.txt").read_text())
    assert printed["run"] == "run"
    by_key = {(metric["name"], metric["subset"]): metric for metric in printed["metrics"]}
    easy, hard = (by_key["avg@4", f"level={level}"]["value"] for level in (1, 5))
    assert easy > 0.9
    assert hard < 0.1
    assert "NaN" not in (finished / "metrics.txt").read_text()


def test_every_sample_has_its_grade_and_the_manifest_counts_them(finished: Path) -> None:
    folder = RunFolder(finished / "run")
    samples = [(row.problem_id, row.sample_index) for row in folder.samples()]
    (grader,) = folder.graders()
    grades = [(row.problem_id, row.sample_index) for row in folder.grades(grader)]
    manifest = folder.read_manifest()
    assert len(set(samples)) == len(samples) == manifest.counts["samples"] == 4 * manifest.counts["problems"]
    assert sorted(samples) == sorted(grades)
    assert manifest.status == "finished"
    assert manifest.model["weights_digest"]
    assert manifest.benchmarks["micro"]["digest"]
    assert all(row.token_ids is not None and len(row.token_ids) == row.n_tokens for row in folder.samples())


def test_the_same_command_again_draws_nothing(finished: Path) -> None:
    before = (finished / "run/samples.jsonl").read_bytes()
    done = run("eval", "-m", "micro", "-b", "micro", "-n", "4", "--max-tokens", "64", "-o", "run", folder=finished)
    assert done.returncode == 0
    assert done.stdout == "run\n"
    assert "loading" not in done.stderr
    assert (finished / "run/samples.jsonl").read_bytes() == before


def test_regrading_leaves_the_old_grades(finished: Path) -> None:
    folder = RunFolder(finished / "run")
    (old,) = folder.graders()
    before = folder.grades_path(old).read_bytes()
    done = run("grade", "run", "--as", "second-look", folder=finished)
    assert done.returncode == 0, done.stderr
    assert folder.grades_path(old).read_bytes() == before
    assert sum(1 for _ in folder.grades("second-look")) == sum(1 for _ in folder.grades(old))
    assert {metric.grader for metric in folder.metrics()} == {old, "second-look"}


def test_config_of_a_run_repeats_it(finished: Path) -> None:
    done = run("eval", "--config", "run/config.yaml", "-o", "again", folder=finished)
    assert done.returncode == 0, done.stderr
    texts = [
        {(row.problem_id, row.sample_index): row.text for row in RunFolder(finished / name).samples()}
        for name in ("run", "again")
    ]
    assert texts[0] == texts[1]


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = run("eval", "-m", "micro", "-b", "micro", "-n", "3", "--levels", "5", "--dry-run", folder=tmp_path)
    assert done.returncode == 0
    assert "generations:" in done.stdout
    assert "a second run shows a rise of pass@1 of" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["eval"], "model: is not set"),
        (["eval", "-m", "micro", "-b", "nothing"], "unknown benchmark 'nothing'"),
        (["eval", "-m", "micro", "-b", "absent.jsonl"], "absent.jsonl is not a file"),
        (["eval", "-m", "micro", "-b", "micro", "--levels", "9"], "9"),
        (["eval", "-m", "micro", "-b", "micro", "--levels", "x"], "levels.0: 'x' does not fit"),
        (["eval", "-m", "micro", "-b", "micro,micro"], "same problem ids"),
        (["eval", "-m", "micro", "-b", "micro", "--temperature", "0"], "greedy"),
        (["eval", "-m", "no/such/model", "-b", "micro"], "neither micro"),
        (["eval", "-m", "org/none", "-b", "micro"], "model org/none is not here, and the hub cannot be reached"),
        (["eval", "-m", "micro", "-b", "micro", "engine_options.device=cuda:9"], "device cuda:9 cannot be used"),
        (["eval", "-m", "micro", "-b", "micro", "--prompt", "nope"], "neither a file nor one of"),
        (["eval", "-m", "micro", "-b", "micro", "--chat-template", "nope"], "nope"),
        (["eval", "-m", "micro", "-b", "micro", "engine_options.speed=9"], "engine_options.speed"),
        (["eval", "--resume", "nowhere"], "not a run folder"),
        (["eval", "--resume", "nowhere", "-n", "3"], "--resume takes"),
        (["eval", "-m", "micro", "-b", "micro", "-o", "."], "no run folder"),
        (["grade", "absent.jsonl"], "does not exist"),
        (["grade", "bad.jsonl"], "bad.jsonl, line 1"),
        (["report", "nowhere"], "nowhere"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "bad.jsonl").write_text('{"answer": "1"}\n')
    done = run(*words, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert says in last
    assert "Traceback" not in done.stderr
    # a start that failed leaves nothing behind
    assert {path.name for path in tmp_path.rglob("*")} <= {"bad.jsonl", "results"}


def test_another_run_in_the_folder_is_refused(finished: Path) -> None:
    done = run("eval", "-m", "micro", "-b", "micro", "-n", "5", "--max-tokens", "32", "-o", "run", folder=finished)
    assert done.returncode == 2
    assert "another n, max_tokens;" in done.stderr


def test_more_samples_are_drawn_into_a_finished_run(finished: Path) -> None:
    words = ["eval", "-m", "micro", "-b", "micro", "--limit", "20", "--max-tokens", "48", "-o"]
    for n, name in ((2, "grown"), (4, "grown"), (4, "whole")):
        done = run(*words, name, "-n", str(n), folder=finished)
        assert done.returncode == 0, done.stderr
    grown, whole = (RunFolder(finished / name) for name in ("grown", "whole"))
    assert len(list(grown.samples())) == 80
    assert {(row.problem_id, row.sample_index, row.text, row.seed) for row in grown.samples()} == {
        (row.problem_id, row.sample_index, row.text, row.seed) for row in whole.samples()
    }
    assert (grown.read_manifest().status, grown.read_manifest().counts["samples"]) == ("finished", 80)
    assert [one.value for one in grown.metrics()] == [pytest.approx(one.value, abs=1e-6) for one in whole.metrics()]
    assert "another n;" in run(*words, "grown", "-n", "2", folder=finished).stderr
    assert "80 done" in run("eval", "--resume", "grown", "--dry-run", folder=finished).stdout


def test_errors_are_drawn_again_on_request(finished: Path) -> None:
    shutil.copytree(finished / "run", finished / "failed")
    whole, folder = RunFolder(finished / "run"), RunFolder(finished / "failed")
    failure = {"finish_reason": "error", "text": "", "token_ids": None, "n_tokens": 0, "sum_logprob": None}
    failed = {(row.problem_id, row.sample_index) for row in list(whole.samples())[5::97]}
    for path, rows, changes in (
        (folder.samples_path, whole.samples(), {**failure, "error": "503"}),
        (folder.grades_path(GRADER), whole.grades(GRADER), {"status": "error", "correct": None}),
    ):
        keys = ((row, (row.problem_id, row.sample_index) in failed) for row in rows)
        path.write_bytes(b"".join(encode(replace(row, **changes) if hit else row) for row, hit in keys))
    words = ["eval", "--resume", "failed"]
    before = folder.samples_path.read_bytes()
    assert run(*words, folder=finished).returncode == 0
    assert folder.samples_path.read_bytes() == before
    assert f"generations: {len(failed)} to do" in run(*words, "--redraw-errors", "--dry-run", folder=finished).stdout
    assert folder.samples_path.read_bytes() == before
    done = run(*words, "--redraw-errors", folder=finished)
    assert done.returncode == 0, done.stderr
    texts = [
        {(row.problem_id, row.sample_index): (row.seed, row.text) for row in one.samples()} for one in (whole, folder)
    ]
    assert texts[0] == texts[1]
    verdicts = [
        sorted((row.problem_id, row.sample_index, row.status, row.correct) for row in one.grades(GRADER))
        for one in (whole, folder)
    ]
    assert verdicts[0] == verdicts[1]
    assert folder.read_manifest().status == "finished"
    assert f"{GRADER}:error" not in folder.read_manifest().counts
    assert len(failed) > 3


def test_interrupt_saves_what_was_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    words = [COMMAND, "eval", "-m", "micro", "-b", "micro", "-n", "64", "--max-tokens", "64", "-o", "run"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        _wait_for_samples(tmp_path / "run", 1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume run" in errors
    assert "Traceback" not in errors
    rows = [(row.problem_id, row.sample_index) for row in RunFolder(tmp_path / "run").samples()]
    assert len(set(rows)) == len(rows) >= 1


def _wait_for_samples(folder: Path, n: int) -> None:
    path = folder / "samples.jsonl"
    until = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < n:
        assert time.monotonic() < until, "no sample appeared"
        time.sleep(0.02)


@pytest.mark.slow
def test_twenty_kills_lose_no_row_and_change_none(tmp_path: Path) -> None:
    """kill -9 at 20 random moments of a run of 200 problems x 8 samples; the run is gone on with each time."""
    draw = random.Random(0)
    problems = "".join(
        json.dumps({"question": f"Compute {a} + {b} modulo 100 .", "answer": str((a + b) % 100), "level": 1}) + "\n"
        for a in range(1, 15) for b in range(1, 16)
    )  # fmt: skip
    (tmp_path / "sums.jsonl").write_text("".join(problems.splitlines(keepends=True)[:200]))
    words = ["eval", "-m", "micro", "-b", "sums.jsonl", "-n", "8", "--max-tokens", "48", "-o", "run"]
    words += ["engine_options.batch_size=1"]  # slow enough that twenty kills all fall into the sampling
    path, kills, before = tmp_path / "run/samples.jsonl", 0, b""
    while kills < 20:
        with subprocess.Popen([COMMAND, *words], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
            if kills % 4:
                _wait_for_samples(tmp_path / "run", before.count(b"\n") + 1)
            time.sleep(draw.uniform(0, 0.3) if kills % 4 else draw.uniform(0, 6))
            if process.poll() is not None:
                break
            process.kill()
        kills += 1
        now = path.read_bytes() if path.exists() else b""
        assert now.startswith(before), "an earlier row changed"
        before = now[: now.rfind(b"\n") + 1]
    done = run(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert kills == 20, "the run ended before it was killed often enough"
    folder = RunFolder(tmp_path / "run")
    keys = [(row.problem_id, row.sample_index) for row in folder.samples()]
    expected = {(problem.problem_id, index) for problem in folder.problems() for index in range(8)}
    assert len(expected) == 1600
    assert len(keys) == 1600
    assert set(keys) == expected
    assert path.read_bytes().startswith(before)
