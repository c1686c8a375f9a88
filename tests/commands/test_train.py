"""`expo-bench train`: what it prints, what it refuses, and how it ends."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.errors import UserError
from expo_bench.grading.judge import GRADER
from expo_bench.storage.training_folder import TrainingFolder

COMMAND = str(Path(sys.executable).with_name("expo-bench"))
RECIPE = {
    "method": "expo_grpo", "model": "micro", "benchmark": "micro", "levels": [2], "limit": 8, "steps": 2,
    "prompts_per_step": 2, "num_generations": 4, "max_tokens": 40, "learning_rate": 1e-4,
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path, monkeypatch, offline):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "no_gold.jsonl").write_text('{"question": "What is 1 + 1?", "answer": null}\n')
    (tmp_path / "bare.jsonl").write_text('{"question": "What is 1 + 1?", "answer": "2"}\n')
    return "small.yaml"


def refused(*words):
    found = CliRunner().invoke(app, ["train", *words])
    assert isinstance(found.exception, UserError), found.output
    assert "\n" not in str(found.exception)
    assert found.stdout == ""
    return str(found.exception)


BAD = [
    (["nothing.yaml"], "nothing.yaml does not exist"),
    (["small.yaml", "learning-rate=1"], "learning-rate (did you mean learning_rate?): no such setting; there are "),
    (["small.yaml", "expo.wight=1"], "expo.wight (did you mean weight?): no such setting"),
    (["small.yaml", "steps=0"], "steps: should be greater than or equal to 1"),
    (
        ["small.yaml", "method=grpo", "expo.beta=0.1"],
        "expo is the section of expo_dpo, expo_grpo, grpo_expert, star, not of grpo: take it out",
    ),
    (["small.yaml", "trl.learning_speed=1"], "trl.learning_speed: GRPOConfig has no such field"),
    (["small.yaml", "trl.max_steps=1"], "trl.max_steps is set by the recipe itself"),
    (["small.yaml", "model=./nowhere"], "model './nowhere' is neither"),
    (["small.yaml", "micro_batch=3"], "micro_batch (3) must divide the 8 rollouts"),
    (["small.yaml", "--dry-run", "--processes", "3"], "prompts_per_step (2) must be a multiple of the 3 processes"),
    (["small.yaml", "benchmark=no_gold.jsonl", "split=test", "levels=null"], "no_gold.jsonl:1: has no answer"),
    (["small.yaml", "benchmark=macro"], "unknown benchmark 'macro'"),
    (["small.yaml", "-b", "nothing.jsonl", "--dry-run"], "nothing.jsonl is not a file"),
    (["small.yaml", "-b", "no_gold.jsonl", "levels=null", "--dry-run"], "no_gold.jsonl:1: has no answer"),
    (["small.yaml", "levels=[7]", "--dry-run"], "level"),
    (
        ["small.yaml", "evaluation={benchmarks: [micro], n: 2, temperature: 0}", "--dry-run"],
        "evaluation: temperature 0",
    ),
    (["grpo_expert", "-m", "micro", "-b", "bare.jsonl"], "none of the 1 problems of bare.jsonl has one"),
    (["dpo_expert", "-m", "micro", "-b", "bare.jsonl", "--dry-run"], "dpo_expert learns from solutions"),
    (["expo_grp", "-m", "micro", "-b", "micro"], "did you mean expo_grpo?"),
    (["grpo", "-b", "micro"], "model: is not set"),
    (["small.yaml", "trl.optim=adamm"], "TRL refuses the recipe"),
    (["small.yaml", "evaluation={benchmarks: [micro], n: 2, temperature: 0}"], "evaluation: temperature 0 is greedy"),
    (["small.yaml", "evaluation={benchmarks: mikro}", "--dry-run"], "evaluation: unknown benchmark 'mikro'"),
    (["small.yaml", "evaluation={benchmarks: mikro}"], "evaluation: unknown benchmark 'mikro'"),
    (["grpo", "-m", "", "-b", "micro"], "model: is empty"),
]


@pytest.mark.parametrize(("words", "expected"), BAD, ids=[expected[:40] for _, expected in BAD])
def test_bad_input_is_one_line(recipe, words, expected):
    assert expected in refused(*words)
    assert not Path("results").exists()


def test_dry_run_says_what_a_run_would_cost(recipe):
    found = json.loads(CliRunner().invoke(app, ["train", recipe, "--dry-run", "--json"]).stdout)
    # 2 problems, each 4 own rollouts and 1 explanation of at most 40 tokens
    expected = {"own": 8, "explanations": 2, "tokens": 400, "sequences_per_pass": 8, "checkpoints": [2]}
    assert expected.items() <= found["work"].items()
    assert found["problems"] == "8 of micro (train)"
    assert found["trl"]["max_completion_length"] == 40
    shown = CliRunner().invoke(app, ["train", recipe, "expo.refresh_every=5", "--dry-run"]).stdout
    assert found["idle"] == {} and "# does nothing: expo.refresh_every (expo.policy is step)\n" in shown
    assert not Path("results").exists()


def test_a_plan_counts_the_solutions(recipe):
    found = json.loads(
        CliRunner().invoke(app, ["train", "sft_expert", "-m", "micro", "-b", "micro", "--dry-run", "--json"]).stdout
    )
    assert found["problems"] == "1471 of micro (train), 1471 of them with a solution"


def test_list_tells_the_methods():
    lines = CliRunner().invoke(app, ["list"]).stdout.splitlines()
    told = dict(line.split(maxsplit=1) for line in lines[lines.index("methods, for train:") + 1 :])
    assert {"grpo", "expo_grpo", "star", "still"} <= set(told)
    assert told["expo_dpo"].startswith("The policy explains the gold answer to itself, and DPO prefers")


def test_a_method_is_trained_without_a_recipe_on_a_file_without_splits(recipe):
    row = {"question": "Compute 3 + 4 modulo 100.", "answer": "7"}
    Path("my.jsonl").write_text(json.dumps(row) + "\n")
    words = ["train", "expo_grpo", "-m", "micro", "-b", "my.jsonl"]
    planned = json.loads(CliRunner().invoke(app, [*words, "--dry-run", "--json"]).stdout)
    assert planned["problems"] == "1 of my.jsonl"
    assert planned["recipe"]["steps"] == 100
    small = ["steps=2", "prompts_per_step=1", "num_generations=2", "max_tokens=20"]
    done = CliRunner().invoke(app, [*words, *small])
    folder = TrainingFolder(done.stdout.removesuffix("\n"))
    assert folder.path.name.startswith("micro--expo_grpo--")
    assert folder.checkpoints() == [2]
    assert {row.problem_id.partition("-")[0] for row in folder.rollouts()} == {"my"}
    told = done.stderr.splitlines()
    assert any(line.startswith("reward of own rollouts: ") for line in told)
    assert any(line.startswith("not evaluated: expo-bench eval -m ") for line in told)


def rates(run):
    right = {}
    for grade in run.grades(GRADER):
        right.setdefault(grade.problem_id, []).append(grade.correct is True)
    return {problem: sum(own) / len(own) for problem, own in right.items()}


def test_it_ends_with_what_it_did(recipe, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    evaluation = "evaluation={benchmarks: [micro], levels: [2], limit: 4, n: 2}"
    done = CliRunner().invoke(app, ["train", recipe, evaluation, "-o", "run"])
    folder = TrainingFolder("run")
    before, after = (
        next(one for one in folder.evaluation(step).metrics() if (one.name, one.subset) == ("avg@2", "all"))
        for step in (0, 2)
    )
    told = done.stderr.splitlines()
    assert max(map(len, told[told.index("look: expo-bench report run") + 1 :])) <= 60

    def cells(label):
        [line] = [line.strip() for line in told if line.strip().startswith(label)]
        return line.removeprefix(label).split()

    assert cells("before training")[0] == f"{100 * before.value:.1f}"
    assert cells("after step 2")[0] == f"{100 * after.value:.1f}"
    first, last = (rates(folder.evaluation(step)) for step in (0, 2))
    assert cells("change, points") == [f"{100 * sum(last[one] - first[one] for one in first) / 4:+.1f}"]
    assert "look: expo-bench compare run/evaluations/checkpoint-0 run/evaluations/checkpoint-2" in told


def test_standard_output_is_the_folder_and_the_same_command_finds_it(recipe):
    first = CliRunner().invoke(app, ["train", recipe])
    folder = TrainingFolder(first.stdout.removesuffix("\n"))
    assert folder.path.parent.name == "results"
    assert folder.checkpoints() == [2]
    rows = folder.rollouts_path.read_bytes()

    again = CliRunner().invoke(app, ["train", recipe, "--json"])
    assert json.loads(again.stdout)["folder"] == str(folder.path)
    assert folder.rollouts_path.read_bytes() == rows
    other = json.loads(CliRunner().invoke(app, ["train", recipe, "seed=1", "--dry-run", "--json"]).stdout)
    assert other["folder"] != str(folder.path)


def test_terminated_it_ends_clean_and_goes_on(recipe):
    words = [COMMAND, "train", recipe, "steps=300", "save_every=2", "-o", "run"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder, begun = TrainingFolder("run"), time.monotonic()
    while not folder.checkpoints() and time.monotonic() - begun < 120:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "stopped; what was done is saved. The same command goes on with it"
    for noise in ("Traceback", "Warning", "Triton"):
        assert noise not in err
    assert 0 < max(folder.checkpoints()) < 300


def test_memory_that_runs_out_is_one_line(recipe, monkeypatch):
    import torch

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more")

    monkeypatch.setattr("expo_bench.trainers.training.train", full)
    message = refused(recipe, "-o", "run")
    assert message.startswith(
        "memory ran out (CUDA out of memory. Tried to allocate 2 GiB): give the command again with a smaller"
    )
