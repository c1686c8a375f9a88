"""Recipes and launchers that come with the project, and what --dry-run says of them."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.commands.train import run_name
from expo_bench.costs.estimate import Work, memory, model_size, sharded, work
from expo_bench.grading.judge import Judge
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.arguments import SERVER_VARIABLE, grpo_arguments, make_config
from expo_bench.trainers.data import training_problems
from expo_bench.trainers.models import load_policy, lora_config
from expo_bench.trainers.online.run import make_trainer
from expo_bench.trainers.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "train/configs").glob("*.yaml"))
# recipe, processes: each as its first lines say that it is started
PROCESSES = {"eight-gpus": 8, "several-nodes": 16}


@pytest.fixture
def no_data(offline, monkeypatch):
    monkeypatch.delenv("EXPO_BENCH_DATA", raising=False)


def recipe(**settings):
    given = {"method": "expo_grpo", "model": "micro", "benchmark": "micro", "steps": 5, "prompts_per_step": 4}
    return Recipe.model_validate({**given, "num_generations": 4, "max_tokens": 44, **settings})


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_planned(file, no_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # still.yaml names a file of the user's; a plan asks for it as a run does
    (tmp_path / "data").mkdir()
    (tmp_path / "data/long_form_thoughts.jsonl").touch()
    words = ["train", str(file), "--dry-run", "--processes", str(PROCESSES.get(file.stem, 1))]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.exception
    lines = found.stdout.splitlines()
    assert lines[-1].startswith(f"results/{file.stem}--")
    assert not Path("results").exists()
    described = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert described["work"]["tokens"] >= 0
    assert described["policy"]["parameters"] > 0
    if described["recipe"]["model"] == "micro":
        assert "of micro (train)" in described["problems"]
        assert described["memory"]["in all"] > 0
    else:
        assert described["problems"].startswith("not loaded, cannot get ")
        assert described["memory"]["known of all"] > 0


def test_paper_setting_marks_what_is_not_known():
    lines = (ROOT / "train/configs/eight-gpus.yaml").read_text().splitlines()
    marked = {
        following.split(":")[0].strip() for line, following in itertools.pairwise(lines) if "# NOT KNOWN:" in line
    }
    assert {"learning_rate", "steps", "num_generations", "max_tokens", "beta", "filter", "explain_prompt"} <= marked


@pytest.mark.parametrize("file", sorted((ROOT / "train/launch").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_its_configurations(file):
    config = load_config_from_file(str(file))
    assert isinstance(config, ClusterConfig)
    assert config.num_processes == 8
    plugin = {"ddp": None, "zero3": config.deepspeed_config, "fsdp2": config.fsdp_config}[file.stem]
    assert plugin is None or plugin


def test_launchers_can_be_parsed():
    subprocess.run(["bash", "-n", ROOT / "train/launch/slurm.sh"], check=True)
    for file in (ROOT / "train/launch").glob("*.py"):
        compile(file.read_text(), file, "exec")


STAND_INS = {
    "scontrol": "printf 'n1\\nn2\\nn3\\n'",
    "srun": 'while [[ $1 == --* ]]; do shift; done; export SLURM_PROCID=0; exec "$@"',
    "trl": 'echo "trl $*"; exec sleep 60',
    "accelerate": 'echo "accelerate $* server=$EXPO_BENCH_VLLM_SERVER"',
}


@pytest.mark.slow
def test_slurm_serves_from_the_first_node_and_trains_on_the_others(tmp_path, monkeypatch):
    """With stand-ins for SLURM and for what it starts: neither it nor a GPU is at hand."""
    for name, line in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-3]")
    monkeypatch.setenv("OUT", "a folder")
    monkeypatch.delenv("SLURM_GPUS_ON_NODE", raising=False)
    command = ["bash", "train/launch/slurm.sh", "train/configs/several-nodes.yaml", "steps=2"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    server, training = sorted(found.stdout.splitlines(), reverse=True)
    assert server.startswith("trl vllm-serve --model Qwen/Qwen2.5-7B-Instruct --data_parallel_size 8 ")
    assert "--num_machines 2 --num_processes 16 --machine_rank 0 --main_process_ip n2 " in training
    end = "-m expo_bench train train/configs/several-nodes.yaml steps=2 -o a folder server=http://n1:8000"
    assert training.endswith(end)


def planned(chosen, n_processes=1):
    return work(chosen, grpo_arguments(chosen, TrainingFolder("run"), n_processes), n_processes)


def test_the_folder_of_a_run_does_not_depend_on_its_micro_batch():
    names = [
        run_name(Path("my.yaml"), recipe(**settings)) for settings in ({}, {"micro_batch": 2}, {"learning_rate": 1e-5})
    ]
    assert names[0] == names[1] != names[2]


def test_work_by_hand():
    found = planned(recipe(save_every=2, micro_batch=4, expo={"per_problem": 2}), 2)
    assert found == Work(
        processes=2, sequences_per_pass=4, passes_per_step=2, period="step", periods=5, own=16, explanations=8,
        tokens=24 * 44, steps=5, checkpoints=[2, 4, 5],
    )  # fmt: skip
    assert planned(recipe(expo={"weight": 0})).explanations == 0


def test_work_of_rounds_by_hand():
    chosen = recipe(method="expo_dpo", steps=6, rounds=2, micro_batch=2)
    found = work(chosen, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}, 1)
    # a round meets 4 * 3 problems, each with 4 own samples and an explanation; DPO's rows are pairs
    assert (found.period, found.periods, found.own, found.explanations) == ("round", 2, 48, 12)
    assert found.sequences_per_pass == 4


@pytest.mark.parametrize("modules", ["all-linear", ("q_proj", "v_proj")])
def test_parameters_are_those_of_the_model(modules):
    from peft import get_peft_model

    chosen = recipe(lora={"r": 3, "target_modules": modules})
    model = load_policy(chosen)[0]
    size = model_size(chosen)
    assert size.parameters == sum(one.numel() for one in model.parameters())
    adapted = get_peft_model(model, lora_config(chosen))
    assert size.trainable == adapted.get_nb_trainable_parameters()[0]
    assert model_size(recipe()).trainable == size.parameters


NAMES = [
    # model, parameters
    ("Qwen/Qwen2.5-1.5B-Instruct", 1_500_000_000),
    ("meta-llama/Llama-3.2-3B-Instruct", 3_000_000_000),
    ("HuggingFaceTB/SmolLM2-135M-Instruct", 135_000_000),
    ("owner/model-v2", None),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_parameters_from_a_name(name, expected, no_data):
    assert model_size(recipe(model=name)).parameters == expected


def test_memory_by_hand():
    chosen = recipe()
    size = model_size(chosen)
    assert (size.layers, size.hidden) == (3, 96)
    found = memory(chosen, size, planned(chosen), on_gpu=False)
    tokens = (16 + 4) * (256 + 44)
    assert found["weights"] == found["gradients"] == 4 * size.parameters
    assert found["AdamW"] == 8 * size.parameters
    assert found["activations"] == tokens * 96 * 3 * 68
    assert found["logits"] == 4096 * size.vocabulary * 16
    assert found["cache of the sampler"] == 2 * 3 * size.kv_width * 4 * 300 * 20
    assert found["in all"] == 16 * size.parameters + max(
        found["activations"] + found["logits"], found["cache of the sampler"]
    )
    doubled = memory(chosen, size, planned(chosen, 2), on_gpu=False)
    assert doubled["buckets of DDP"] == doubled["gradients"] == 4 * size.parameters
    # half of 16 bytes a weight, and no buckets
    assert doubled["in all"] - sharded(doubled, 2)["in all"] == 12 * size.parameters


def test_memory_of_adapters_on_a_gpu():
    chosen = recipe(lora={"r": 4}, sampler="vllm", trl={"beta": 0.1})
    size = model_size(chosen)
    found = memory(chosen, size, planned(chosen), on_gpu=True)
    assert found["weights"] == 2 * size.parameters
    assert found["AdamW"] == 2 * found["gradients"] == 8 * size.trainable
    assert found["cache of the sampler"] == found["copies in bfloat16"] == 0
    whole = memory(recipe(trl={"beta": 0.1}), model_size(recipe()), planned(recipe()), on_gpu=True)
    assert whole["weights"] == 8 * size.parameters
    assert whole["copies in bfloat16"] == 2 * size.parameters


# guards against TRL's traps


def test_trl_gets_own_rollouts_only(tmp_path):
    """Its correction by importance sampling, which would send the ratio of an explanation to 0, stays as it is."""
    from trl import GRPOConfig

    chosen = recipe(levels=[2], limit=8, expo={"per_problem": 2, "filter": []})
    arguments = grpo_arguments(chosen, TrainingFolder(tmp_path), 1)
    assert "vllm_importance_sampling_correction" not in arguments
    with Judge(workers=1) as judge:
        trainer = make_trainer(
            chosen, training_problems(chosen).problems, TrainingFolder(tmp_path), GRPOConfig(**arguments), judge, True
        )
        trainer.model.train()
        output = trainer._generate_and_score_completions(list(next(iter(trainer.get_train_dataloader()))))
        rows = trainer.take()
    sizes = {name: len(value) for name, value in output.items() if getattr(value, "ndim", 0)}
    assert set(sizes.values()) == {16}
    own = [row for row in rows if row.source == "own"]
    texts = trainer.processing_class.batch_decode(output["completion_ids"], skip_special_tokens=True)
    assert texts == [row.text for row in own]
    assert len([row for row in rows if row.source == "self_explanation"]) == 8


def test_server_is_the_machines_affair(tmp_path, monkeypatch):
    from trl import GRPOConfig

    chosen = recipe(sampler="vllm", trl={"vllm_mode": "server"})
    monkeypatch.setenv(SERVER_VARIABLE, "http://node1:8000")
    found = make_config(GRPOConfig, grpo_arguments(chosen, TrainingFolder(tmp_path), 1))
    assert found.vllm_server_base_url == "http://node1:8000"
    assert "node1" not in chosen.model_dump_json()


def test_no_reports_no_half_precision_unless_asked(tmp_path):
    from trl import GRPOConfig

    found = make_config(GRPOConfig, grpo_arguments(recipe(), TrainingFolder(tmp_path), 1))
    assert found.report_to == []
    assert not found.bf16
