"""Checkpoints of low-rank adapters load in the harness as they are."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Request, SamplingParams
from expo_bench.engines.choosing import engine_name, open_engine
from expo_bench.engines.digest import weights_digest
from expo_bench.engines.loading import base_of, find_model, load_model, load_tokenizer
from expo_bench.errors import UserError
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.models import load_policy
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.training import train
from tests.fakes import Silent

RECIPE = Recipe.model_validate(
    {
        "method": "expo_grpo", "model": "micro", "benchmark": "micro", "levels": [2], "limit": 8, "steps": 1,
        "prompts_per_step": 2, "num_generations": 4, "max_tokens": 40, "learning_rate": 1e-2,
        "lora": {"r": 4}, "expo": {"filter": []},
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = TrainingFolder(tmp_path_factory.mktemp("lora") / "run")
    train(RECIPE, folder, Silent())
    return folder.checkpoint(1)


@pytest.fixture
def checkpoint(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "checkpoint-1"))


def change(folder, **settings):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_merged_weights_are_base_plus_product_of_the_factors(trained):
    from safetensors.torch import load_file

    factors = load_file(trained / "adapter_model.safetensors")
    merged = load_model(find_model(str(trained)), "float32", "cpu").state_dict()
    base = load_model(find_model("micro"), "float32", "cpu").state_dict()
    assert merged.keys() == base.keys()
    changed = [name for name in base if not torch.equal(base[name], merged[name])]
    assert any("down_proj" in name for name in changed)
    for name in changed:
        prefix = f"base_model.model.{name.removesuffix('.weight')}"
        product = factors[f"{prefix}.lora_B.weight"] @ factors[f"{prefix}.lora_A.weight"]
        # alpha / r = 32 / 4
        torch.testing.assert_close(merged[name], base[name] + 8 * product, rtol=1e-5, atol=1e-6)
    assert len(factors) == 2 * len(changed)


def test_engine_samples_from_the_adapted_policy(trained):
    assert engine_name(EngineSpec(model=str(trained))) == "transformers"
    engine = open_engine(EngineSpec(model=str(trained)))
    request = Request(
        problem_id="p", messages=({"role": "user", "content": "2 + 3 * 4"},), sample_indexes=(0,), seeds=(1,)
    )
    done = list(engine.generate([request], SamplingParams(temperature=1.0, top_p=1.0, max_tokens=8)))
    assert done[0].n_tokens > 0
    described = engine.describe()
    engine.close()
    assert described["weights_digest"] == weights_digest(str(trained)) != weights_digest("micro")


def test_digest_covers_adapters_and_base(checkpoint, tmp_path):
    first = weights_digest(str(checkpoint))
    base = Path(shutil.copytree(find_model("micro").path, tmp_path / "base"))
    change(checkpoint, base_model_name_or_path=str(base))
    assert weights_digest(str(checkpoint)) == first
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    second = weights_digest(str(checkpoint))
    assert second != first
    adapters = checkpoint / "adapter_model.safetensors"
    adapters.write_bytes(adapters.read_bytes()[:-1] + b"\x01")
    assert weights_digest(str(checkpoint)) not in (first, second)


def test_adapters_on_adapters(checkpoint, tmp_path):
    """What is trained from an adapter checkpoint has that folder as its base, and loads as well."""
    recipe = RECIPE.model_copy(update={"model": str(checkpoint)})
    assert load_policy(recipe)[0].name_or_path == str(checkpoint)
    folder = TrainingFolder(tmp_path / "run")
    train(recipe, folder, Silent())
    files = find_model(str(folder.checkpoint(1)))
    assert base_of(files) == find_model(str(checkpoint))
    twice = load_model(files, "auto", "cpu").state_dict()
    once = load_model(find_model(str(checkpoint)), "auto", "cpu").state_dict()
    assert any(not torch.equal(twice[name], once[name]) for name in once)


def test_tokenizer_of_the_base_where_the_folder_has_none(checkpoint):
    text = "2 + 3 * 4"
    own = load_tokenizer(find_model(str(checkpoint)))(text)["input_ids"]
    for path in checkpoint.glob("tokenizer*"):
        path.unlink()
    assert load_tokenizer(find_model(str(checkpoint)))(text)["input_ids"] == own


def test_refusals_are_one_line(checkpoint):
    name = str(checkpoint)
    refused = []
    change(checkpoint, base_model_name_or_path="/nowhere/base")
    with pytest.raises(UserError, match="names the base /nowhere/base: model '/nowhere/base' is neither") as found:
        load_model(find_model(name), "auto", "cpu")
    refused.append(found)
    (checkpoint / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="does not say which model the adapters belong to") as found:
        load_model(find_model(name), "auto", "cpu")
    refused.append(found)
    (checkpoint / "adapter_model.safetensors").rename(checkpoint / "adapter_model.bin")
    with pytest.raises(UserError, match=r"holds no adapter_model\.safetensors") as found:
        find_model(name)
    refused.append(found)
    assert all("\n" not in str(one.value) for one in refused)


def test_a_folder_of_its_own_is_no_adapter():
    micro = find_model("micro")
    assert base_of(micro) is None
    assert base_of(replace(micro, path="owner/name")) is None
