"""Torn, duplicated, reordered and foreign lines in every file of rows: read around or refused, never miscounted."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from expo_bench.grading.judge import GRADER
from expo_bench.storage.training_folder import TrainingFolder
from tests.faults import pipeline, processes
from tests.faults import test_train_kills as trained
from tests.faults.table import Faults

pytestmark = pytest.mark.fault

FILES = [
    "problems.jsonl",
    "samples.jsonl",
    "explanations.jsonl",
    f"grades/{GRADER}.jsonl",
    "candidates.jsonl",
    "likelihoods/micro.jsonl",
]
TRAIN = ["train", "recipe.yaml", "-o", "out"]
Lines = list[bytes]


def torn(lines: Lines) -> Lines:
    return [*lines, lines[0][: len(lines[0]) // 2]]


def torn_inside(lines: Lines) -> Lines:
    return [lines[0][: len(lines[0]) // 2], *lines[1:]]


def duplicated(lines: Lines) -> Lines:
    return [*lines, lines[0]]


def reordered(lines: Lines) -> Lines:
    return random.Random(0).sample(lines, len(lines))


def not_utf8(lines: Lines) -> Lines:
    return [*lines[:1], lines[1].replace(b"a", b"\xff", 1), *lines[2:]]


def nul_filled(lines: Lines) -> Lines:
    return [*lines, b"\0" * 5000]


DAMAGES: dict[str, tuple[Callable[[Lines], Lines], bool]] = {
    "a torn last line": (torn, True),
    "a last line of NUL bytes (power failure)": (nul_filled, True),
    "reordered lines": (reordered, True),
    "a duplicated line": (duplicated, False),
    "a torn line inside": (torn_inside, False),
    "a line that is not UTF-8": (not_utf8, False),
}
"""Name -> what is done to the lines of a file, and whether the file must still be readable."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    pipeline.uninterrupted(folder, pipeline.CANDIDATES, pipeline.LIKELIHOOD)
    return folder


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_lines(finished: Path, tmp_path: Path, faults: Faults, name: str) -> None:
    damage, readable = DAMAGES[name]
    expected = pipeline.rows(finished / "run")
    lost, messages = 0, []
    for file in FILES:
        folder = tmp_path / file.replace("/", "-")
        shutil.copytree(finished, folder)
        path = folder / "run" / file
        before = path.read_bytes()
        path.write_bytes(b"".join(damage(before.splitlines(keepends=True))))
        ended = [processes.run(folder, words) for words in (pipeline.CANDIDATES, pipeline.LIKELIHOOD)]
        failed = [one for one in ended if one.code != 0]
        for one in failed:
            assert one.code == 2, one.errors
            assert "Traceback" not in one.errors
            assert path.name in one.message, one.message
        messages += [one.message for one in failed]
        if readable:
            assert not failed, messages
        elif damage is not duplicated:
            assert failed, f"{file}: nobody noticed"
            assert f"{path.relative_to(folder)}:" in failed[0].message
        if failed:
            path.write_bytes(before)  # mended by hand, as the message says
            again = [processes.run(folder, words) for words in (pipeline.CANDIDATES, pipeline.LIKELIHOOD)]
            assert [one.code for one in again] == [0, 0], again[-1].errors
        if damage is duplicated and not failed:
            metrics = json.loads((folder / "run/likelihood_metrics.json").read_text())
            assert metrics == json.loads((finished / "run/likelihood_metrics.json").read_text()), file
            path.write_bytes(before)
        lost += pipeline.lost(expected, folder / "run")
    print(name, set(messages))
    faults.record(f"{name} in each of {len(FILES)} files of rows", len(FILES), lost, (messages or [""])[0])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two training steps that has lost the second checkpoint, and what it was beside it."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"method": "expo_grpo", **trained.RECIPE}))
    assert processes.run(folder, TRAIN).code == 0
    shutil.copytree(folder / "out", folder / "whole")
    shutil.rmtree(TrainingFolder(folder / "out").checkpoint(2))
    TrainingFolder(folder / "out").record_path.unlink()
    return folder


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_lines_of_training(stopped: Path, tmp_path: Path, faults: Faults, name: str) -> None:
    damage, readable = DAMAGES[name]
    expected = by_content(stopped / "whole")
    lost, messages = 0, []
    for file in ("rollouts.jsonl", "log.jsonl"):
        folder = tmp_path / file
        shutil.copytree(stopped, folder)
        path = folder / "out" / file
        before = path.read_bytes()
        path.write_bytes(b"".join(damage(before.splitlines(keepends=True))))
        ended = processes.run(folder, TRAIN)
        if readable or damage is duplicated:
            assert ended.code == 0, ended.errors
        else:
            assert ended.code == 2, ended.errors
            assert "Traceback" not in ended.errors
            assert f"{path.relative_to(folder)}:" in ended.message
            messages.append(ended.message)
            path.write_bytes(before)  # mended by hand, as the message says
            assert processes.run(folder, TRAIN).code == 0
        lost += trained.lost(expected, by_content(folder / "out"))
    faults.record(f"{name} in the rollouts and the log of a training run", 2, lost, (messages or [""])[0])


def by_content(path: Path) -> dict[tuple[str, Any], Any]:
    """Return what a training run holds, its rollouts in no order."""
    found = trained.trained(path)
    rollouts = [str(found.pop(key)) for key in list(found) if key[0] == "rollout"]
    assert len(set(rollouts)) == len(rollouts)
    return found | {("rollout", row): True for row in rollouts}


@pytest.mark.parametrize(
    ("what", "content", "says"),
    [
        ("missing", None, ""),
        ("of a later schema", b'{"schema_version": 2}', "upgrade"),
        ("empty", b"", "damaged"),
        ("not UTF-8", b"\xff\xfe", "damaged"),
        ("nested too deep", b"[" * 100_000, "damaged"),
        ("without its fields", b'{"schema_version": 1}', "damaged"),
    ],
)
def test_manifest(finished: Path, tmp_path: Path, faults: Faults, what: str, content: bytes | None, says: str) -> None:
    expected = pipeline.rows(finished / "run")
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "run" / "manifest.json"
    path.unlink()
    message = ""
    if content is not None:
        path.write_bytes(content)
        ended = processes.run(tmp_path, pipeline.CANDIDATES)
        assert ended.code == 2, ended.errors
        assert "Traceback" not in ended.errors
        assert says in ended.message
        message = ended.message
        path.unlink()
    ended = processes.run(tmp_path, pipeline.CANDIDATES)
    assert ended.code == 0, ended.errors
    faults.record(f"manifest {what}; then deleted", 1, pipeline.lost(expected, tmp_path / "run"), message)
