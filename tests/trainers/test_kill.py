"""A training run that is killed again and again ends as one that was not."""

import random
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from expo_bench.storage.training_folder import TrainingFolder

STEPS = 30
KILLS = 10
RECIPE = f"""
method: expo_grpo
model: micro
benchmark: micro
levels: [3]
limit: 30
steps: {STEPS}
prompts_per_step: 2
num_generations: 4
max_tokens: 40
learning_rate: 1.0e-4
save_every: 2
"""


def start(recipe, out):
    command = [sys.executable, "-m", "expo_bench", "train", str(recipe), "-o", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def last_step(folder):
    lines = folder.rollouts_path.read_bytes().splitlines(keepends=True) if folder.rollouts_path.is_file() else []
    return max((row.step for row in folder.rollouts()), default=-1) if lines else -1


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    whole = start(recipe, tmp_path / "whole")
    assert whole.wait(300) == 0, whole.stderr.read()
    folder = TrainingFolder(tmp_path / "killed")
    for target in sorted(random.Random(0).sample(range(1, STEPS - 1), KILLS)):
        process = start(recipe, folder.path)
        deadline = time.monotonic() + 120
        while last_step(folder) < target and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = start(recipe, folder.path)
    assert last.wait(300) == 0, last.stderr.read()
    expected = TrainingFolder(tmp_path / "whole")
    assert list(folder.rollouts()) == list(expected.rollouts())
    assert folder.checkpoints() == expected.checkpoints() == list(range(2, STEPS + 1, 2))
    ours, theirs = (load_file(one.checkpoint(STEPS) / "model.safetensors") for one in (folder, expected))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
