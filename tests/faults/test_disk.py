"""A disk that fills up in every writer, and a folder that cannot be written to: one line, and nothing is lost."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from expo_bench.errors import UserError
from expo_bench.storage.row_files import Appender, encode, write_atomically
from expo_bench.storage.run_folder import RunFolder
from tests import fakes
from tests.faults import pipeline, processes
from tests.faults import test_train_kills as trained
from tests.faults.table import Faults

SMALLEST = f"size={os.sysconf('SC_PAGE_SIZE')}"
"""A file system of one page."""
COMMANDS = [pipeline.CANDIDATES, pipeline.LIKELIHOOD]


def test_a_full_disk_is_one_line_and_keeps_what_was_written(tmp_path: Path) -> None:
    # every write to /dev/full fails like one to a full disk
    (tmp_path / "samples.jsonl").symlink_to("/dev/full")
    with Appender(tmp_path / "samples.jsonl") as rows, pytest.raises(UserError, match="No space left") as raised:
        rows.append([fakes.sample()])
    assert str(tmp_path / "samples.jsonl") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_append_that_the_disk_takes_a_part_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "samples.jsonl"
    with Appender(path) as rows:
        rows.append([fakes.sample(0)])
        whole = path.read_bytes()

        def part(file: object, content: bytes) -> None:
            file.write(content[:40])  # type: ignore[attr-defined]
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched, pytest.raises(UserError, match="No space left"):
            patched.setattr(sys.modules[Appender.__module__], "_write", part)
            rows.append([fakes.sample(1)])
    with Appender(path) as rows:
        rows.append([fakes.sample(2)])
    assert path.read_bytes() == whole + encode(fakes.sample(2))


@pytest.mark.parametrize("where", ["a file/metrics.json", "a file"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_atomically(tmp_path / where / "metrics.json", "{}")
    with pytest.raises(UserError, match="cannot write"):
        Appender(tmp_path / where / "samples.jsonl")
    with pytest.raises(UserError, match="cannot make the folder"):
        RunFolder(tmp_path / where).lock()


@pytest.mark.fault
def test_the_disk_fills_up_in_every_writer(tmp_path: Path, faults: Faults) -> None:
    """A disk grows by a page at a time; each time the same command is given again, and ends where there is no room."""
    (tmp_path / "whole").mkdir()
    expected = pipeline.uninterrupted(tmp_path / "whole", *COMMANDS)
    pipeline.write_problems(tmp_path)
    messages, disk = [], tmp_path / "disk"
    (tmp_path / "run").symlink_to("disk/run")
    with processes.tmpfs(disk, SMALLEST):
        (disk / "run").mkdir()
        for words in COMMANDS:
            messages += processes.run_as_disk_grows(
                tmp_path,
                words,
                disk,
                # the report is one file of many pages
                lambda _, message: 8 if "report.html" in message else 1,
            )
        lost = pipeline.lost(expected, tmp_path / "run")
    assert all("No space left" in message for message in messages)
    print(files_of(messages))
    assert len(messages) > 10
    written = "samples, explanations, grades, candidates, likelihoods, arrays, metrics, manifest, report"
    what = f"disk full, at each page more that candidates and likelihood write ({written})"
    faults.record(what, len(messages), lost, messages[-1])


def files_of(messages: list[str]) -> Counter[str]:
    """Return how often each file's name stands in the lines that say what could not be written."""
    return Counter(message.split(":")[1].split("/")[-1] for message in messages)


@pytest.mark.fault
def test_a_run_folder_that_is_read_only(tmp_path: Path, faults: Faults) -> None:
    pipeline.write_problems(tmp_path)
    (tmp_path / "disk").mkdir()
    for words in (pipeline.CANDIDATES, pipeline.LIKELIHOOD):
        assert processes.run(tmp_path, words).code == 0
    before = pipeline.rows(tmp_path / "run")
    commands = [
        pipeline.LIKELIHOOD,
        pipeline.CANDIDATES,
        ["grade", "run", "--as", "again"],
        ["report", "run"],
        ["report", "run", "-o", "elsewhere.html"],
    ]
    (tmp_path / "disk").rmdir()
    (tmp_path / "run").rename(tmp_path / "written")
    (tmp_path / "run").symlink_to("disk")
    with processes.tmpfs(tmp_path / "disk", "size=4m"):
        shutil.copytree(tmp_path / "written", tmp_path / "disk", dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / "disk"], check=True)
        ended = [processes.run(tmp_path, words) for words in commands]
        lost = pipeline.lost(before, tmp_path / "run")
    for one in ended[:-1]:
        assert one.code == 2, one.errors
        assert "Read-only file system" in one.message
        assert "Traceback" not in one.errors
    assert ended[-1].code == 0, ended[-1].errors
    assert (tmp_path / "elsewhere.html").is_file()
    faults.record(
        "read-only run folder: four commands that write, one that only reads", len(ended), lost, ended[0].message
    )


@pytest.mark.fault
@pytest.mark.parametrize("method", ["expo_grpo", "star"])
def test_the_disk_fills_up_in_train(tmp_path: Path, faults: Faults, method: str) -> None:
    """As above, with the checkpoints of the libraries: a disk that grows by 64 pages."""
    for name in ("whole", "small"):
        (tmp_path / name).mkdir()
        recipe = {"method": method, **trained.RECIPE, **trained.METHODS[method]}
        (tmp_path / name / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = ["train", "recipe.yaml", "-o", "out"]
    assert processes.run(tmp_path / "whole", words).code == 0
    expected = trained.trained(tmp_path / "whole" / "out")
    disk = tmp_path / "small" / "disk"
    (tmp_path / "small" / "out").symlink_to("disk/out")
    with processes.tmpfs(disk, SMALLEST):
        (disk / "out").mkdir()
        messages = processes.run_as_disk_grows(
            tmp_path / "small", words, disk, lambda _, message: 64 if "checkpoint" in message else 1
        )
        lost = trained.lost(expected, trained.trained(tmp_path / "small" / "out"))
    print(files_of(messages))
    assert len(messages) > 10
    what = f"disk full, as it grows, in what train writes ({method}), with checkpoints"
    faults.record(what, len(messages), lost, messages[-1])


evaluated = trained.evaluated
OTHERS: dict[str, tuple[list[str], Callable[[Path], Any]]] = {
    "compare": (["compare", "base", "trained", "-o", "disk/out"], trained.results),
    "report": (["report", "base", "trained", "-o", "disk/out/a.html"], trained.results),
    "import": (["import", "samples_sums.jsonl", "-o", "disk/out"], lambda out: pipeline.rows(out)["sample"]),
    "thoughts": (
        ["thoughts", "micro", "-m", "micro", "--config", "thoughts.yaml", "-o", "disk/out"],
        lambda out: dict.fromkeys((out / "rows.jsonl").read_bytes().splitlines()),
    ),
    "study": (["study", "study.yaml", "-o", "disk/out"], trained.studied),
}


@pytest.mark.fault
@pytest.mark.parametrize("name", OTHERS)
def test_the_disk_fills_up_in_other_commands(tmp_path: Path, evaluated: Path, faults: Faults, name: str) -> None:
    """As above; what is there in the end is what a disk with room holds."""
    (words, content), found, messages = OTHERS[name], {}, []
    for place, options in (("room", "size=64m"), ("small", SMALLEST)):
        folder = tmp_path / place
        shutil.copytree(evaluated, folder)
        (folder / "thoughts.yaml").write_text("cleaning: {min_words: 3}\nselection: {levels: {1: 1}}")
        (folder / "study.yaml").write_text(yaml.safe_dump(trained.STUDY))
        with processes.tmpfs(folder / "disk", options):
            messages = processes.run_as_disk_grows(folder, words, folder / "disk", lambda pages, _: max(2, pages // 2))
            found[place] = content(folder / "disk" / "out")
    assert len(messages) > 2
    lost = trained.lost(*found.values())
    faults.record(f"disk full, as it grows, in what {name} writes", len(messages), lost, messages[-1])
