import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from expo_bench.cli import app
from expo_bench.errors import UserError
from expo_bench.learning_curves import bootstrap_interval, learning_curves
from expo_bench.studies import Study, load_study, runs
from expo_bench.trainers.training import recipe_yaml

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
    assert (expo.seed, expo.expo.beta, expo.evaluation.n, expo.evaluation.limit) == (1, 0.5, 4, 4)
    assert found["bare", 0].recipe.evaluation is None
    assert found["expo", 1].folder.path == tmp_path / "expo" / "seed-1"


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ({"a": {"method": "grpo", "betta": 1}}, "arm a: betta: no such setting"),
        ({"a": {"method": "gpro"}}, "arm a: method"),
        ({"../a": {"method": "grpo"}}, "becomes a folder's"),
    ],
)
def test_bad_arms_are_named(tmp_path, arms, words):
    with pytest.raises(UserError, match=words):
        runs(study(**arms), tmp_path)


def test_interval_covers_problems_and_seeds():
    # one seed solves everything, the other nothing: the mean of two resampled seeds is 0, 1/2 or 1
    assert bootstrap_interval(np.array([[1.0] * 50, [0.0] * 50]), 2000, 0) == (0.0, 1.0)
    # seeds agree: a plain bootstrap of a share of 1/2 of 100 problems, 1.96 * 0.05 to either side
    values = np.tile(np.arange(100) % 2.0, (3, 1))
    low, high = bootstrap_interval(values, 20_000, 0)
    assert (low, high) == (pytest.approx(0.402, abs=0.012), pytest.approx(0.598, abs=0.012))


def test_interval_of_nothing_solved_is_not_empty():
    # scipy.stats.binomtest(0, 40).proportion_ci(method="exact").high
    assert bootstrap_interval(np.zeros((3, 40)), 100, 0) == (0.0, pytest.approx(0.08810, abs=1e-5))
    assert bootstrap_interval(np.ones((3, 40)), 100, 0) == (pytest.approx(0.91190, abs=1e-5), 1.0)


def test_a_study_from_its_file_to_its_curves(tmp_path):
    file = tmp_path / "tiny.yaml"
    arms = {"grpo": {"method": "grpo"}, "expo": {"method": "expo_grpo"}}
    file.write_text(yaml.safe_dump({"seeds": [0], "shared": SHARED, "arms": arms}))
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["study", str(file), "-o", str(out), "--jobs", "2", "--json"])
    assert done.exit_code == 0, done.output
    points = json.loads(done.stdout)["curves"]
    assert {(one["arm"], one["step"]) for one in points} == {(arm, step) for arm in arms for step in (0, 1, 2)}
    first = next(one for one in points if one["step"] == 2 and one["arm"] == "grpo" and one["metric"] == "pass@1")
    # the curve's value is the harness's own avg@n of that checkpoint
    metrics = json.loads((out / "grpo/seed-0/evaluations/checkpoint-2/metrics.json").read_text())
    own = next(one for one in metrics if one["name"] == "avg@2" and one["subset"] == "all")
    assert first["value"] == pytest.approx(own["value"])
    tokens = json.loads((out / "grpo/seed-0/training.json").read_text())["generated_tokens"]["own"]
    assert first["generated_tokens"] == tokens
    assert all(run.done for run in runs(load_study(file), out))
    page = (out / "report.html").read_text()
    assert "In the end" in page and "method: expo_grpo" in page and (out / "figures/learning_curves_1.svg").is_file()
    # another recipe in the same folder is refused, and nothing is written over
    run = runs(load_study(file), out)[0]
    file.write_text(yaml.safe_dump({"seeds": [0], "shared": {**SHARED, "steps": 3}, "arms": arms}))
    refused = CliRunner().invoke(app, ["study", str(file), "-o", str(out)])
    assert "another recipe" in str(refused.exception)
    assert run.folder.recipe_path.read_text() == recipe_yaml(run.recipe)


def test_no_finished_run(tmp_path):
    with pytest.raises(UserError, match="no run of the study is finished"):
        learning_curves(runs(study(), tmp_path))
