"""Two processes train as one does, under accelerate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.engines.loading import find_model
from expo_bench.storage.training_folder import TrainingFolder

# on a machine without a GPU, --multi_gpu means two processes on the CPU, where --cpu would mean one
LAUNCH = [
    str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "expo_bench",
]  # fmt: skip
RECIPE = {
    "method": "expo_grpo", "model": "micro", "benchmark": "micro", "levels": [2], "limit": 40, "steps": 4,
    "prompts_per_step": 4, "num_generations": 4, "max_tokens": 40, "learning_rate": 1.0,
    # above all gradients, so that a difference stays as small as it is
    "trl": {"adam_epsilon": 100.0, "entropy_coef": 0.0},
}  # fmt: skip


def launch(folder, *words):
    # no variable that accelerate left in this process is for the launched ones
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ACCELERATE_")}
    command = [*LAUNCH, "train", "recipe.yaml", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


HARD = {"levels": [2, 5], "max_tokens": 64}
"""A process may have a group that nobody solves while the other has none."""
METHODS = {
    # what is not the recipe's above, and the chains that must be there: (source, role)
    "expo_grpo": ({"expo": {"beta": 0.5}}, ("self_explanation", "beside")),
    "nurl": (HARD, ("hinted", "member")),
    # which chains share one of several updates is drawn within a process
    "dapo": ({**HARD, "minibatches": 1}, ("own", "discarded")),
    "luffy": ({"minibatches": 1, "luffy": {"guest": "self_explanation"}}, ("self_explanation", "member")),
    "sdpo": ({}, ("own", "member")),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_give_what_one_gives(tmp_path, method):
    more, seen = METHODS[method]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "method": method, **more}))
    one = CliRunner().invoke(app, ["train", str(tmp_path / "recipe.yaml"), "-o", str(tmp_path / "one")])
    assert one.exit_code == 0, one.exception
    two = launch(tmp_path, "-o", "two", "--json")
    assert two.returncode == 0, two.stderr
    # one process speaks for both
    assert json.loads(two.stdout)["checkpoints"] == [4]
    assert two.stderr.count("4 steps, in two") == 1
    assert "Warning" not in two.stderr

    folders = TrainingFolder(tmp_path / "one"), TrainingFolder(tmp_path / "two")
    rows, others = (list(folder.rollouts()) for folder in folders)
    assert seen in {(row.source, row.role) for row in rows if row.weight != 0}
    for row, other in zip(rows, others, strict=True):
        for name in ("step", "group", "source", "sample_index", "text", "reward", "role", "weight"):
            assert getattr(row, name) == getattr(other, name)
        for name in ("advantage", "sum_logprob"):
            value = getattr(other, name)
            assert getattr(row, name) == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-4))
    start = load_file(find_model("micro").path + "/model.safetensors")
    weights, more = (load_file(folder.checkpoint(4) / "model.safetensors") for folder in folders)
    assert max((weights[name] - start[name]).abs().max().item() for name in weights) > 1e-4
    assert max((weights[name] - more[name]).abs().max().item() for name in weights) <= 1e-6


REFUSED = [
    # words, what is said: the first is found by each process, the second by one of them
    (("prompts_per_step=3",), "prompts_per_step (3) must be a multiple of the 2 processes"),
    (("-o", "other"), "other holds a run with another"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "expected"), REFUSED, ids=[expected[:20] for _, expected in REFUSED])
def test_bad_input_is_said_once(tmp_path, words, expected):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"seed": 1}))
    found = launch(tmp_path, *words)
    assert found.returncode != 0
    assert found.stdout == ""
    said = [line for line in found.stderr.splitlines() if line.startswith("expo-bench: ")]
    assert len(said) == 1
    assert expected in said[0]
    # the launcher tells of its own, the processes do not
    assert "[rank" not in found.stderr
