"""STILL-2 with a policy that writes thoughts: a round learns from its own, and runs are killed in each phase."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from safetensors.torch import load_file

from expo_bench.problems import micro
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.thoughts.dataset import ThoughtFolder, write
from expo_bench.thoughts.format import split
from expo_bench.thoughts.micro import micro_thoughts
from expo_bench.trainers.rounds.still import dataset_path
from expo_bench.trainers.training import load_recipe, train
from tests.fakes import Silent

pytestmark = pytest.mark.fault

STEPS = 4  # of a round


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """The micro model after it imitated thoughts on levels 1 and 2."""
    path = tmp_path_factory.mktemp("policy")
    chosen = {
        "method": "still", "model": "micro", "benchmark": "micro", "steps": 100, "prompts_per_step": 16,
        "learning_rate": 1e-3, "max_tokens": 150,
        "still": {"thoughts": str(thoughts(path / "set", 200)), "cleaning": {"min_words": 3}},
    }  # fmt: skip
    train(load_recipe(None, chosen), TrainingFolder(path / "run"), Silent())
    return TrainingFolder(path / "run").checkpoint(100)


def thoughts(path, n):
    problems = [one for one in micro.load("train") if one.level <= 2][:n]
    return write(path, micro_thoughts(problems, seed=0), parent=None, left_out={}, settings={}).path


def settings(policy, path, **still):
    return {
        "method": "still", "model": str(policy), "benchmark": "micro", "levels": [2], "steps": 2 * STEPS, "rounds": 2,
        "prompts_per_step": 4, "max_tokens": 150, "learning_rate": 1e-5, "save_every": 1,
        "still": {
            "thoughts": str(thoughts(path / "set", 10)), "cleaning": {"min_words": 3}, "problems": 12, "rollouts": 6,
            "wave": 2, "enough": 2, "selection": {"highest_perplexity": 0.8},
            "explored": {"highest_perplexity": 0.8, "per_problem": 1}, **still,
        },
    }  # fmt: skip


def test_a_round_adds_the_right_rollouts_of_high_perplexity(policy, tmp_path):
    folder = TrainingFolder(tmp_path / "run")
    record = train(load_recipe(None, settings(policy, tmp_path)), folder, Silent())
    before, after = (list(ThoughtFolder(dataset_path(folder, number)).rows()) for number in (0, 1))
    new = after[len(before) :]
    assert after[: len(before)] == before and len(new) == record["rounds"][1]["new"] > 0
    likelihoods = {
        (row.problem_id, row.candidate_id): row for row in folder.round(1).likelihoods(str(folder.checkpoint(STEPS)))
    }
    right = {(row.problem_id, row.sample_index) for row in folder.rollouts() if row.reward == 1.0}
    for row in new:
        index = int(row.thought_id.rpartition("-")[2])
        assert (row.problem_id, index) in right and split(row.text)
        assert row.perplexity == likelihoods[row.problem_id, f"own-{index}"].perplexity
    assert len({row.problem_id for row in new}) == len(new)
    assert record["rounds"][1]["rows"] == len(after)


@pytest.mark.parametrize("mask", ["thought", "both"])
def test_dpo_learns_from_pairs_of_the_round(policy, tmp_path, mask):
    still = {"learn": "dpo", "start": "continued", "mask": mask, "enough": 6, "dpo_learning_rate": 1e-4}
    folder = TrainingFolder(tmp_path / "run")
    chosen = {**settings(policy, tmp_path, **still), "preference": {"sft_weight": 0.1, "pairs_per_problem": 4}}
    record = train(load_recipe(None, chosen), folder, Silent())
    assert record["rounds"][1]["rows"] > 0
    logged = {line["step"]: line for line in folder.log() if "rewards/margins" in line}
    assert list(logged) == list(range(STEPS + 1, 2 * STEPS + 1))
    # the reference is the policy of the round's start
    assert logged[STEPS + 1]["rewards/margins"] == pytest.approx(0.0, abs=1e-4)
    assert logged[2 * STEPS]["rewards/margins"] > 0


def lines(path):
    return path.read_bytes().count(b"\n") if path.is_file() else 0


PHASES = [
    # what tells that the phase has begun, and what must not be there yet
    (
        "scoring what is imitated",
        lambda f: lines(f.round(0).candidates_path),
        lambda f: f.round(0).path / "learning.json",
    ),
    ("imitating", lambda f: f.checkpoints()[1:], lambda f: f.checkpoint(STEPS)),
    ("exploring", lambda f: lines(f.round(1).samples_path) > 8, lambda f: f.round(1).candidates_path),
    ("scoring rollouts", lambda f: lines(f.round(1).candidates_path), lambda f: f.round(1).path / "learning.json"),
    ("learning", lambda f: f.checkpoints()[STEPS + 1 :], lambda f: f.checkpoint(2 * STEPS)),
]  # fmt: skip


def test_kills_in_each_phase_change_nothing(policy, tmp_path):
    recipe, path = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(settings(policy, tmp_path)))
    command = [sys.executable, "-m", "expo_bench", "train", str(recipe), "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    # in the same folder, since rows name the checkpoint that they come from
    expected, folder = TrainingFolder(path.rename(tmp_path / "whole")), TrainingFolder(path)
    for name, begun, later in PHASES:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while not begun(folder) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert begun(folder) and not later(folder).exists(), name
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    same = ["rollouts.jsonl", "rounds/1/exploration.json"]
    same += [f"rounds/{number}/{name}" for number in (0, 1) for name in ("learning.json", "dataset/rows.jsonl")]
    for name in same:
        assert (folder.path / name).read_bytes() == (expected.path / name).read_bytes(), name
    assert folder.checkpoints() == expected.checkpoints() == list(range(1, 2 * STEPS + 1))
    ours, theirs = (load_file(one.checkpoint(2 * STEPS) / "model.safetensors") for one in (folder, expected))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    record, whole = (json.loads(one.record_path.read_text()) for one in (folder, expected))
    assert (record["rounds"], record["zero_reward"]) == (whole["rounds"], whole["zero_reward"])
    shutil.rmtree(expected.path)
