"""The mistakes that docs/errors.md lists: each is made, and told as the page says; nothing new is left behind."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from expo_bench.storage.run_folder import RunFolder
from tests.command_line import run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
ROW = re.compile(r"\| (?P<what>[^|]+) \| `(?P<command>[^`|]+)` \| (?P<says>[^|]+) \|")
FILES = {
    "my.jsonl": "".join(json.dumps({"question": f"What is {n} + 1?", "answer": str(n + 1)}) + "\n" for n in range(5)),
    "theirs.jsonl": '{"gold": "2", "completion": "\\\\boxed{2}"}\n',
    "empty.jsonl": "",
    "wrong.jsonl": '{"prompt": "x", "gold": "2"}\n',
    "broken.jsonl": '{"question": "a", "answer": "2"}\n{"question": "a"\n',
    "prompt.txt": "Answer:\n",
    "bad.yaml": "model: micro\nbenchmarks: micro\ntemprature: 1\n",
    "syntax.yaml": "model: [micro\nbenchmarks: micro\n",
    "recipe.yaml": "method: expo_grpo\nmodel: micro\nbenchmark: micro\nstepz: 3\nexpoo: {weight: 1}\n",
    "study.yaml": "seeds: [0]\nshared: {model: micro, benchmark: my.jsonl}\narms: {grpo: {method: grpo}}\n",
    "arm.yaml": "seeds: [0]\nshared: {model: micro, benchmark: my.jsonl}\narm: {grpo: {method: grpo}}\n",
    "arms.yaml": "seeds: [0]\nshared: {model: micro, benchmark: my.jsonl}\narms: {grpo: {method: grpo, stepz: 3}}\n",
    "file.yaml": "seeds: [0]\nshared: {model: micro, benchmark: nothing.jsonl}\narms: {grpo: {method: grpo}}\n",
    "results/training/recipe.yaml": "method: grpo\nmodel: micro\nbenchmark: my.jsonl\nsteps: 2\n",
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    words = ["eval", "-m", "micro", "-b", "my.jsonl", "-n", "2", "--max-tokens", "16"]
    for name, temperature in (("base", "1"), ("hot", "0.5")):
        done = run(*words, "--temperature", temperature, "-o", f"results/{name}", folder=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, offline: None) -> None:
    for name in ("HF_TOKEN", "EXPO_BENCH_DATA", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def _without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = [name for name in sys.modules if name.startswith(f"{package}.")]
    for name in (package, *loaded):
        monkeypatch.setitem(sys.modules, name, None)


MISTAKES = [match.groupdict() for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def test_no_row_of_the_page_is_left_out() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if "| `" in line]
    assert len(MISTAKES) == len(rows) > 70


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake["what"].replace(" ", "-"))
def test_a_mistake_is_told(mistake: dict[str, str], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in re.findall(r"without `(\w+)`", mistake["what"]):
        _without(package, monkeypatch)
    before = {path for path in workplace.rglob("*") if path.name != ".lock"}
    done = run(*shlex.split(mistake["command"]), folder=workplace)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1].removeprefix("expo-bench: ")
    parts = [re.escape(part) for part in mistake["says"].split("…")]
    assert re.fullmatch(".*".join(parts), last), last
    assert {path for path in workplace.rglob("*") if path.name != ".lock"} == before


def test_a_report_over_runs_of_other_protocols_says_so(workplace: Path) -> None:
    done = run("report", "results/base", "results/hot", "-o", "results/both.html", folder=workplace)
    assert done.returncode == 0
    assert "These runs do not share a protocol" in done.stderr
    assert "temperature: A 1.0; B 0.5" in done.stderr


def test_a_comparison_of_few_shared_problems_warns(workplace: Path) -> None:
    lines = FILES["my.jsonl"].splitlines()[:2]
    (workplace / "two").mkdir()
    (workplace / "two" / "my.jsonl").write_text("\n".join(lines) + "\n")
    words = ["eval", "-m", "micro", "-b", "my=two/my.jsonl", "-n", "2", "--max-tokens", "16", "-o", "results/two"]
    assert run(*words, folder=workplace).returncode == 0
    done = run("compare", "results/base", "results/two", "-o", "results/few", folder=workplace)
    assert done.returncode == 0
    assert "warning: of the 5 problems of base only 2 are compared" in done.stderr


def test_a_run_that_is_being_drawn_is_not_told_to_be_resumed(workplace: Path) -> None:
    folder = RunFolder(shutil.copytree(workplace / "results" / "base", workplace / "results" / "drawn"))
    folder.metrics_path.unlink()
    with folder.lock():
        done = run("report", "results/drawn", folder=workplace)
    assert "results/drawn is still being drawn: expo-bench view shows how far it is" in done.stderr
    assert "resume the run with --resume" in run("report", "results/drawn", folder=workplace).stderr
