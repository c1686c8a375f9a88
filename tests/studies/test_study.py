import json
import os
import re

import pytest
import yaml
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.errors import UserError
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder
from expo_bench.studies.learning_curves import learning_curves
from expo_bench.studies.study import (
    Study,
    _Going,
    _log_path,
    _take_base_evaluation,
    candidates_config,
    check_arms,
    load_study,
    runs,
)  # fmt: skip

SHARED = {
    "model": "micro", "benchmark": "micro", "levels": [1], "limit": 8, "steps": 2, "prompts_per_step": 2,
    "num_generations": 2, "max_tokens": 32, "save_every": 1,
    "evaluation": {"benchmarks": ["micro"], "levels": [1], "limit": 4, "n": 2},
}  # fmt: skip


def study(**arms):
    return Study(seeds=(0, 1), shared=SHARED, arms=arms or {"grpo": {"method": "grpo"}})


def test_arms_are_the_shared_settings_and_what_differs(tmp_path):
    chosen = study(
        grpo={"method": "grpo"},
        expo={"method": "expo_grpo", "expo": {"beta": 0.5}, "evaluation": {"n": 4}},
        bare={"method": "grpo", "evaluation": None},
    )
    found = {(run.arm, run.seed): run for run in runs(chosen, tmp_path)}
    assert list(found) == [("grpo", 0), ("expo", 0), ("bare", 0), ("grpo", 1), ("expo", 1), ("bare", 1)]
    expo = found["expo", 1].recipe
    assert (expo.seed, expo.settings.weight, expo.evaluation.n, expo.evaluation.limit) == (1, 0.5, 4, 4)
    assert found["bare", 0].recipe.evaluation is None
    assert found["expo", 1].folder.path == tmp_path / "expo" / "seed-1"


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ({"a": {"method": "grpo", "betta": 1}}, "arm a: betta"),
        ({"a": {"method": "gpro"}}, "arm a: method"),
        ({"../a": {"method": "grpo"}}, "becomes a folder's"),
        ({"candidates": {"method": "grpo"}}, "other than candidates"),
    ],
)
def test_bad_arms_are_named(tmp_path, arms, words):
    with pytest.raises(UserError, match=words):
        runs(study(**arms), tmp_path)


def test_a_study_without_evaluations_compares_nothing(tmp_path):
    with pytest.raises(UserError, match="no arm has a section `evaluation`"):
        check_arms(study(bare={"method": "grpo", "evaluation": None}), tmp_path)


def test_a_study_from_its_file_to_its_curves(tmp_path):
    file = tmp_path / "tiny.yaml"
    arms = {"grpo": {"method": "grpo"}, "expo": {"method": "expo_grpo"}}
    candidates = {"n": 2, "per_source": 1}
    asked = {"seeds": [0], "shared": SHARED, "arms": arms, "candidates": candidates}
    asked["rates"] = {"values": [1e-2], "seeds": [7]}
    file.write_text(yaml.safe_dump(asked))
    out = tmp_path / "out"
    planned = CliRunner().invoke(app, ["study", str(file), "-o", str(out), "--dry-run"])
    assert "4 of 4 runs are left" in planned.stderr
    done = CliRunner().invoke(app, ["study", str(file), "-o", str(out), "--jobs", "2", "--json"])
    assert done.exit_code == 0, done.output
    assert "curves, ledger and pages 4/4" in done.stderr
    assert re.search(r"^runs 0/2  (grpo|expo): \w", done.stderr, re.MULTILINE), done.stderr
    points = json.loads(done.stdout)["curves"]
    assert {(one["arm"], one["step"]) for one in points} == {(arm, step) for arm in arms for step in (0, 1, 2)}
    first = next(one for one in points if one["step"] == 2 and one["arm"] == "grpo" and one["metric"] == "pass@1")
    # the curve's value is the harness's own avg@n of that checkpoint
    metrics = json.loads((out / "grpo/seed-0/evaluations/checkpoint-2/metrics.json").read_text())
    own = next(one for one in metrics if one["name"] == "avg@2" and one["subset"] == "all")
    assert first["value"] == pytest.approx(own["value"])
    tokens = json.loads((out / "grpo/seed-0/training.json").read_text())["generated_tokens"]["own"]
    assert first["generated_tokens"] == tokens and first["problems"] == "micro, level 1"
    entropy = next(one for one in points if (one["step"], one["arm"], one["metric"]) == (2, "grpo", "entropy"))
    log = [json.loads(line) for line in (out / "grpo/seed-0/log.jsonl").read_text().splitlines()]
    assert entropy["value"] == pytest.approx(log[1]["entropy"])
    assert all(run.done for run in runs(load_study(file), out))
    page = (out / "report.html").read_text()
    assert "In the end" in page and "method: expo_grpo" in page and (out / "figures/learning_curves_1.svg").is_file()
    # each checkpoint has its report, which leads back
    reports = re.findall(r'href="((?:grpo|expo)/seed-0/evaluations/[^"]+)"', page)
    assert len(reports) == 6
    for link in reports:
        assert 'href="../../../../report.html"' in (out / link).read_text()
    # the held-out problems of the evaluation, and what the policies make of them
    held_out = {problem.problem_id for problem in RunFolder(out / "candidates").problems()}
    assert held_out == {
        problem.problem_id for problem in RunFolder(out / "expo/seed-0/evaluations/checkpoint-2").problems()
    }
    assert "Candidates and their likelihood" in page and "after expo</h4>" in page and "base: self-explanation" in page
    # each arm took the one rate that was tried
    chosen = json.loads((out / "rates.json").read_text())["chosen"]
    for arm in arms:
        recipe = yaml.safe_load((out / arm / "seed-0/recipe.yaml").read_text())
        assert recipe["learning_rate"] == chosen[arm] == 1e-2
    # nothing is made again
    planned = CliRunner().invoke(app, ["study", str(file), "-o", str(out), "--dry-run"])
    assert "0 of 4 runs are left" in planned.stderr
    stages = {path: path.stat().st_mtime_ns for path in (out / "candidates").rglob("*.json*")}
    assert CliRunner().invoke(app, ["study", str(file), "-o", str(out)]).exit_code == 0
    assert stages == {path: path.stat().st_mtime_ns for path in (out / "candidates").rglob("*.json*")}
    # another recipe in the same folder is refused, and nothing is written over
    made = (out / "grpo/seed-0/recipe.yaml").read_text()
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"seeds": [0], "shared": {**SHARED, "steps": 3}, "arms": arms}))
    refused = CliRunner().invoke(app, ["study", str(other), "-o", str(out)])
    assert "was made with another " in str(refused.exception)
    assert (out / "grpo/seed-0/recipe.yaml").read_text() == made
    # a run that a release with another grader finished
    [graded] = (out / "rates").glob("grpo_0.01/seed-7/evaluations/checkpoint-2/grades/*")
    graded.rename(graded.with_name("former-grader.jsonl"))
    refused = CliRunner().invoke(app, ["study", str(file), "-o", str(out)])
    assert "has no verdict of the grader of this release" in str(refused.exception)


def test_candidates_are_of_the_shared_policy_and_the_held_out_problems():
    shared = {**SHARED, "prompt": "qwen-boxed", "evaluation": {"benchmarks": ["micro"], "levels": [2, 3], "n": 2}}
    chosen = candidates_config(Study(seeds=(4, 5), shared=shared, arms={"a": {}}, candidates={"levels": [3], "n": 7}))
    assert (chosen.model, chosen.prompt, chosen.benchmarks, chosen.levels) == ("micro", "qwen-boxed", ("micro",), (3,))
    assert (chosen.seed, chosen.n, chosen.max_tokens, chosen.limit) == (4, 7, 32, None)
    assert candidates_config(study()) is None
    with pytest.raises(UserError, match=r"candidates: sorces \(did you mean sources\?\): no such setting"):
        candidates_config(Study(seeds=(0,), shared=SHARED, arms={"a": {}}, candidates={"sorces": ["own"]}))


def test_runs_share_the_evaluation_of_a_base_that_was_made_in_the_same_way(tmp_path):
    chosen = study(one={"method": "grpo"}, same={"method": "expo_grpo"}, other={"method": "grpo", "prompt": "plain"})
    listed = runs(chosen, tmp_path)
    there = listed[0].folder.evaluation(0)
    write_atomically(there.samples_path, "rows")
    _take_base_evaluation(listed[1], listed)
    assert not listed[1].folder.path.exists()  # it is not finished
    write_atomically(there.report_path, "what comes last")
    for run in listed[1:]:
        _take_base_evaluation(run, listed)
    assert listed[1].folder.evaluation(0).samples_path.samefile(there.samples_path)
    assert listed[1].folder.recipe_path.is_file()
    assert not listed[2].folder.path.exists()  # another prompt
    assert not listed[3].folder.path.exists()  # another seed


class Failing:
    """A fork server all of whose runs fail at once."""

    alive = True

    def __init__(self, threads, *, with_vllm):
        self.replies, self._told = os.pipe()

    def begin(self, words, log):
        log.write_text("begun\nno such model\n")
        os.write(self._told, b"2")

    def ended(self):
        return int(os.read(self.replies, 1))

    def close(self):
        os.close(self.replies)
        os.close(self._told)


def test_a_study_whose_runs_all_fail_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("expo_bench.studies.study.ForkServer", Failing)
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump({"seeds": [0], "shared": SHARED, "arms": {"grpo": {"method": "grpo"}}}))
    failed = CliRunner().invoke(app, ["study", str(file), "-o", str(tmp_path / "out")])
    assert isinstance(failed.exception, UserError)
    assert str(failed.exception).startswith("grpo, seed 0: no such model (see ")


@pytest.mark.fault
def test_the_demo_is_the_whole_loop(tmp_path):
    out = tmp_path / "demo"
    done = CliRunner().invoke(app, ["demo", "-o", str(out)])
    assert done.exit_code == 0, done.output
    points = json.loads((out / "curves.json").read_text())
    ends = {
        one["arm"]: one["value"] for one in points if (one["metric"], one["level"], one["step"]) == ("pass@1", None, 60)
    }
    assert set(ends) == {"grpo", "expo_grpo", "grpo_expert"}
    verdicts = {
        one["trained"]: one["verdict"]["kind"]
        for one in json.loads((out / "ledger/ledger.json").read_text())["comparisons"]
    }
    assert set(verdicts) == set(ends)
    page = (out / "report.html").read_text()
    for heading in (
        "Learning curves",
        "By level",
        "Sharpening or new problems?",
        "Candidates",
        "Side by side",
        "Protocol",
    ):
        assert heading.lower() in page.lower(), heading
    assert not re.search(r"(src|href)=[\"']?https?:", page)


def test_packages_that_are_missing_end_a_study_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("expo_bench.trainers.checks._PACKAGES", ("json", "no_such_package"))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"seeds": [0], "arms": {"a": {"method": "grpo"}}}))
    words = ["study", str(tmp_path / "study.yaml"), "-o", str(tmp_path / "out")]
    found = CliRunner().invoke(app, words)
    assert isinstance(found.exception, UserError)
    assert str(found.exception).startswith("training needs more packages (no_such_package)")
    assert not (tmp_path / "out").exists()


def test_no_finished_run(tmp_path):
    with pytest.raises(UserError, match="no run of the study is finished"):
        learning_curves(runs(study(), tmp_path))


def test_a_study_tells_the_newest_stage_of_a_run_whatever_stands_behind_it(tmp_path):
    run = runs(study(), tmp_path)[0]
    going = _Going()
    assert going.told() == ""
    going.runs.append(run)
    assert going.told() == "grpo: begins"
    log = _log_path(run)
    log.parent.mkdir(parents=True)
    log.write_text("training 1/2  9 tokens/s\ngrading by expo-bench-2 4/4\n1 of 4 samples: 3/4\n  ... hold 1/2 of it\n")
    assert going.told() == "grpo: grading by expo-bench-2 4/4"
