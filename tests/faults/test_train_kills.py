"""kill -9 at the writes of train, compare, report and study: the same command again ends as if nothing had happened."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from expo_bench.storage.training_folder import TrainingFolder
from tests.faults import pipeline, processes
from tests.faults.table import Faults

pytestmark = pytest.mark.fault

RECIPE = {
    "model": "micro", "benchmark": "micro", "levels": [1], "limit": 4, "steps": 2, "prompts_per_step": 2,
    "num_generations": 2, "max_tokens": 24, "save_every": 1, "learning_rate": 1e-4,
}  # fmt: skip
QUEUE = {"benchmarks": ["micro"], "limit": 2, "n": 1, "mode": "queue"}
METHODS: dict[str, dict[str, Any]] = {
    "expo_grpo": {"evaluation": QUEUE},
    "star": {"rounds": 2, "levels": [1], "limit": 8, "max_tokens": 48, "steps": 2, "prompts_per_step": 4},
}


STUDY = {
    "seeds": [0],
    "shared": {**RECIPE, "evaluation": {**QUEUE, "mode": "in_process"}},
    "arms": {"grpo": {"method": "grpo"}},
    "candidates": {"n": 1, "per_source": 1},
}


def trained(path: Path) -> dict[tuple[str, Any], Any]:
    """Return all that a training run must hold in the end, without times."""
    folder = TrainingFolder(path)
    found: dict[tuple[str, Any], Any] = {("rollout", at): row for at, row in enumerate(folder.rollouts())}
    for step in folder.checkpoints():
        found["weights", step] = hashlib.sha256(
            (folder.checkpoint(step) / "model.safetensors").read_bytes()
        ).hexdigest()
    for line in folder.log():
        if "loss" in line:
            assert ("loss", line["step"]) not in found
            found["loss", line["step"]] = line["loss"]
    record = json.loads(folder.record_path.read_bytes())
    found |= {("record", key): value for key, value in record.items() if key != "environment"}
    if folder.queue_path.is_file():
        found |= {("queued", at): line for at, line in enumerate(folder.queue_path.read_text().splitlines())}
    for at in range(len(list(folder.path.glob("rounds/*")))):
        for kind, rows in pipeline.rows(folder.round(at).path).items():
            found |= {(f"round {at}: {kind}", key): row for key, row in rows.items()}
    return found


def results(path: Path) -> dict[tuple[str, Any], Any]:
    """Return the files that a command derives from rows, byte for byte."""
    files = (file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    return {("file", str(file.relative_to(path))): file.read_bytes() for file in files}


def lost(expected: dict[tuple[str, Any], Any], found: dict[tuple[str, Any], Any]) -> int:
    assert found.keys() <= expected.keys()
    return sum(found.get(key) != value for key, value in expected.items())


def kill_at(
    numbers: Iterable[int], ready: Path, words: list[str], out: str, read: Any, again: int = 1
) -> tuple[int, int]:
    """Kill the command at these of its writes, a copy of `ready` for each; return the trials and what they lost.

    The command is given again up to `again` times. Numbers beyond the last write end the trials.
    """
    whole = ready.with_name("whole")
    shutil.copytree(ready, whole)
    ended = processes.run(whole, words)
    assert ended.code == 0, ended.errors
    expected = read(whole / out)
    trials = missing = 0
    for number in numbers:
        folder = ready.with_name(str(number))
        shutil.copytree(ready, folder)
        killed = processes.run(folder, words, processes.KillAtWrite(number, folder / out))
        if killed.code == 0:
            break
        assert killed.code == processes.KILLED, killed.errors
        for _ in range(again):
            if (ended := processes.run(folder, words)).code == 0:
                break
        assert ended.code == 0, f"after write {number}: {ended.errors}"
        trials += 1
        missing += lost(expected, read(folder / out))
        shutil.rmtree(folder)
    return trials, missing


@pytest.mark.parametrize(("method", "every"), [("expo_grpo", 1), ("star", 8)])
def test_train(tmp_path: Path, faults: Faults, method: str, every: int) -> None:
    ready = tmp_path / "ready"
    ready.mkdir()
    (ready / "recipe.yaml").write_text(yaml.safe_dump({"method": method, **RECIPE, **METHODS[method]}))
    words = ["train", "recipe.yaml", "-o", "out"]
    trials, missing = kill_at(itertools.count(0, every), ready, words, "out", trained)
    assert trials > 10
    which = "every write" if every == 1 else f"every {every}th write"
    faults.record(f"kill -9 at {which} of train ({method}), those of the libraries included", trials, missing)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, base and trained."""
    ready = tmp_path_factory.mktemp("evaluated")
    pipeline.write_problems(ready, 4)
    for seed, name in enumerate(("base", "trained")):
        ended = processes.run(
            ready, [*pipeline.EVAL, "-o", name, "n=4", f"seed={seed}", "engine_options.batch_size=16"]
        )
        assert ended.code == 0, ended.errors
    return ready


@pytest.mark.parametrize(
    "words", [["compare", "base", "trained", "-o", "out"], ["report", "base", "trained", "-o", "out/a.html"]]
)
def test_what_is_derived(tmp_path: Path, evaluated: Path, faults: Faults, words: list[str]) -> None:
    shutil.copytree(evaluated, tmp_path / "ready")
    trials, missing = kill_at(itertools.count(), tmp_path / "ready", words, "out", results)
    assert trials >= 3
    faults.record(f"kill -9 at every write of {words[0]}", trials, missing)


def studied(path: Path) -> dict[tuple[str, Any], Any]:
    """Return what a study must hold in the end: its curves, ledger and run."""
    found = {("curve", at): point for at, point in enumerate(json.loads((path / "curves.json").read_bytes()))}
    found["ledger", ""] = json.loads((path / "ledger" / "ledger.json").read_bytes())["comparisons"]
    found["page", ""] = (path / "report.html").is_file()
    return found | {("run", key): value for key, value in trained(path / "grpo" / "seed-0").items()}


def test_study(tmp_path: Path, faults: Faults) -> None:
    ready = tmp_path / "ready"
    ready.mkdir()
    (ready / "study.yaml").write_text(yaml.safe_dump(STUDY))
    words = ["study", "study.yaml", "-o", "out"]
    # a run that a killed study had begun goes on by itself, and is not begun a second time beside it
    trials, missing = kill_at(range(0, 1000, 25), ready, words, "out", studied, again=30)
    assert trials > 3
    faults.record("kill -9 at every 25th write of study", trials, missing)
