"""The reference of a KL term is the policy of the start, whatever its name loads elsewhere."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from expo_bench.engines.loading import find_model
from expo_bench.errors import UserError
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.callbacks import Records
from expo_bench.trainers.training import load_recipe, train
from tests.fakes import Silent


def divergence(path, **settings):
    """The KL term of each step."""
    values = {
        "method": "grpo", "model": "micro", "benchmark": "micro", "levels": [2], "limit": 4, "steps": 2,
        "prompts_per_step": 2, "num_generations": 4, "max_tokens": 40, "learning_rate": 1e-2, "trl": {"beta": 0.01},
    }  # fmt: skip
    folder = TrainingFolder(path)
    train(load_recipe(None, {**values, **settings}), folder, Silent())
    return [line["kl"] for line in folder.log() if "kl" in line]


def stands_off(found):
    return found[0] == pytest.approx(0, abs=1e-6) and found[1] > 1e-4


def test_adapters_are_part_of_the_reference(tmp_path):
    assert stands_off(divergence(tmp_path / "first", lora={"r": 4}))
    adapters = str(TrainingFolder(tmp_path / "first").checkpoint(2))
    assert stands_off(divergence(tmp_path / "whole", model=adapters))
    assert stands_off(divergence(tmp_path / "more", model=adapters, lora={"r": 4}))


def test_the_revision_is_that_of_the_reference(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / "models--some--micro"
    (repository / "refs").mkdir(parents=True)
    for name, commit in (("main", "0" * 40), ("v1", "1" * 40)):
        (repository / "refs" / name).write_text(commit)
        snapshot = Path(shutil.copytree(find_model("micro").path, repository / "snapshots" / commit))
        if name == "main":
            weights = load_file(snapshot / "model.safetensors")
            noise = torch.Generator().manual_seed(0)
            moved = {key: one + 0.05 * torch.randn(one.shape, generator=noise) for key, one in weights.items()}
            save_file(moved, snapshot / "model.safetensors", metadata={"format": "pt"})
    assert stands_off(divergence(tmp_path / "run", model="some/micro", revision="v1"))


def test_another_reference_ends_the_run(tmp_path):
    records = Records(TrainingFolder(tmp_path), None, lambda n: None)
    state = type("State", (), {"global_step": 1, "is_world_process_zero": True})
    with pytest.raises(UserError, match=r"0.0045 nats a token away from its reference \(trl.beta\)"):
        records.on_log(None, state, None, {"kl": 0.0045})
