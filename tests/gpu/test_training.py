"""One step of each online method on CUDA, all weights and adapters, and what is recorded of it."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from expo_bench.commands.cli import app

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CONFIGS = Path(__file__).resolve().parents[2] / "train" / "configs"


def is_online(file: Path) -> bool:
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    return recipe["model"] == "micro" and "grpo" in recipe["method"]


ONLINE = [file for file in sorted(CONFIGS.glob("micro-*.yaml")) if is_online(file)]


@pytest.mark.parametrize("more", [(), ("lora.r=4",), ("lora.r=4", "dtype=bfloat16")], ids=["whole", "lora", "bfloat16"])
@pytest.mark.parametrize("file", ONLINE, ids=lambda file: file.stem)
def test_a_step(file: Path, more: tuple[str, ...], tmp_path: Path) -> None:
    words = ["train", str(file), "-o", str(tmp_path / "run"), "steps=1", "save_every=null", "levels=[2]", *more]
    words += ["evaluation.n=1", "evaluation.limit=4", "evaluation.levels=[2]"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, repr(done.exception)
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert sum(record["generated_tokens"].values()) > 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "rollouts.jsonl").read_text().splitlines()]
    assert {row["step"] for row in rows} == {0}
    assert any(row["source"] == "own" and row["reward"] is not None for row in rows)
    metrics = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert metrics["grad_norm"] > 0 or not any(row["advantage"] for row in rows)
    assert (tmp_path / "run" / "evaluations" / "checkpoint-1" / "metrics.json").is_file()
