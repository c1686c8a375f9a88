"""Every command that README and docs/ print is run, or planned where it needs what a test has not."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from expo_bench import load_study, runs
from expo_bench.commands.cli import app
from tests import command_line
from tools import docs_site

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MICRO = ROOT / "expo_bench" / "assets" / "micro"


def _commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.split("  #")[0].strip()
                if line and not line.startswith("#"):
                    found.append((page.name, line))
    return found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the commands find what their pages speak of: benchmark files, a finished run, completions."""
    folder = tmp_path_factory.mktemp("docs")
    data = folder / "data"
    data.mkdir()
    row = {"problem": "What is $1 + 1$?", "solution": "It is $\\boxed{2}$.", "answer": "2"}
    rows = {
        "math500": {**row, "level": 4, "subject": "Algebra"},
        "aime24": {**row, "answer": "002"},
        "aime25": row,
        "gsm8k_test": {"question": "What is 1 + 1?", "answer": "It is 2.\n#### 2"},
        "gpqa_diamond": {
            "Question": "1 + 1?",
            "Correct Answer": "2",
            "Incorrect Answer 1": "1",
            "Incorrect Answer 2": "3",
            "Incorrect Answer 3": "4",
        },
        "gsm8k_train": {"question": "What is 1 + 1?", "answer": "It is 2.\n#### 2"},
        "math_train": {**row, "level": "Level 5", "type": "Algebra"},
    }
    for name, content in rows.items():
        (data / f"{name}.jsonl").write_text(json.dumps(content) + "\n")
    shutil.copytree(ROOT / "train", folder / "train")
    own = {"question": "What is 1 + 1?", "answer": "2", "level": 1}
    (folder / "my.jsonl").write_text(json.dumps(own) + "\n")
    theirs = {"problem": "What is 1 + 1?", "gt": "2", "outputs": [{"response": "\\boxed{2}"}]}
    (folder / "theirs.jsonl").write_text(json.dumps(theirs) + "\n")
    (folder / "odd.csv").write_text('prompt,target\n"What is 1 + 1?",2\n')
    choices = [{"message": {"role": "assistant", "content": "\\boxed{2}"}, "finish_reason": "stop"}]
    batch = {"custom_id": "q-0", "response": {"body": {"model": "m", "choices": choices}}}
    (folder / "batch.jsonl").write_text(json.dumps(batch) + "\n")
    (folder / "rows.jsonl").write_text(json.dumps({"answer": "2", "text": "\\boxed{2}"}) + "\n")
    words = ["eval", "-m", "micro", "-b", "micro", "-n", "2", "--limit", "10", "--max-tokens", "64"]
    done = command_line.run(*words, "-o", "results/micro", folder=folder)
    assert done.returncode == 0, done.stderr
    shutil.copytree(MICRO, folder / ".cache" / "Qwen2.5-Coder-0.5B-Instruct")
    for name in ("gsm8k", "math"):
        (folder / "results" / f"qwen-zero-{name}").mkdir()
        for part in ("train", "held_out"):
            rows_of = folder / "results" / f"qwen-zero-{name}" / f"{part}.jsonl"
            rows_of.write_text(json.dumps({**own, "solution": "It is \\boxed{2}."}) + "\n")
    for name in ("transformers", "vllm", "server", "base", "trained"):
        shutil.copytree(folder / "results/micro", folder / "results" / name)
    return folder


def _train(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a recipe of the micro world for a step or two, plan any other; in this process, which has TRL loaded."""
    file = next((word for word in words if word.endswith(".yaml")), None)
    recipe = yaml.safe_load((folder / file).read_text()) if file else {"model": words[words.index("-m") + 1]}
    if recipe["model"] == "micro":
        words = [
            *words,
            f"steps={2 * recipe.get('rounds', 1)}",
            "save_every=null",
            "evaluation=null",
            "prompts_per_step=4",
        ]
    elif "--dry-run" not in words:
        words = [*words, "--dry-run"]
    _here(words, folder, monkeypatch)


def _here(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EXPO_BENCH_DATA", str(folder / "data"))
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, f"{' '.join(words)}\n{found.exception!r}"


@pytest.mark.parametrize(("page", "line"), _commands(), ids=lambda value: value[:70])
@pytest.mark.usefixtures("offline")
def test_command(page: str, line: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line.split("|")[-1])
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[:2] == ["expo-bench", "train"]:
        _train(words[1:], workplace, monkeypatch)
    elif words[0] in ("accelerate", "sbatch"):
        # what the launcher is handed must be there, and be a command; tests/trainers/test_processes.py launches one
        assert all((workplace / word).is_file() for word in words if word.startswith("train/"))
        recipe = next(at for at, word in enumerate(words) if word.startswith("train/configs/"))
        _train(["train", *words[recipe:], "--dry-run"], workplace, monkeypatch)
    elif words[:2] == ["expo-bench", "study"] and words[2].endswith("micro-methods.yaml"):
        # its plan alone reckons five hundred runs
        assert len(runs(load_study(workplace / words[2]), workplace / "results/methods")) > 300
    elif words[:2] == ["expo-bench", "study"]:
        # a study of many runs is planned; tests/studies/test_study.py runs a small one
        _here([*words[1:], "--dry-run"], workplace, monkeypatch)
    elif words[:2] == ["expo-bench", "view"] and "--export" not in words:
        # it would serve until ctrl-C; tests/reports/test_workbench.py asks it for its pages
        monkeypatch.setattr("expo_bench.reports.workbench.server.serve", lambda *_: None)
        _here(words[1:], workplace, monkeypatch)
    elif words[:2] == ["expo-bench", "view"]:
        # of all that the pages have left a site takes a minute; tests/reports/test_workbench.py writes larger ones
        few = workplace / "few"
        shutil.copytree(workplace / "results/micro", few / "results/micro")
        _here(words[1:], few, monkeypatch)
    elif words[:4] == ["expo-bench", "eval", "-m", "micro"]:
        _here([*words[1:], "limit=10"], workplace, monkeypatch)
    elif words[0] == "expo-bench":
        # a model from the hub, or an engine that is not installed: the plan shows that the command is a valid one
        real = (
            words[1] in ("eval", "candidates")
            and "micro" not in words
            and "--resume" not in words
            and "--config" not in words
        )
        model = words[words.index("-m") + 1] if real else ""
        if model.startswith("results/") and not (workplace / model).exists():
            shutil.copytree(MICRO, workplace / model)  # a checkpoint of a longer training than the tests do
        _here([*words[1:], *["--dry-run"] * real], workplace, monkeypatch)
    else:
        assert words[0] in ("pip", "git", "vllm", "ray", "cd", "export", "python"), f"{page}: no test for {line}"


def test_the_site_has_every_page_and_no_link_to_nowhere(tmp_path: Path) -> None:
    docs_site.lay_out(tmp_path / "site")
    assert list(docs_site.broken_links(tmp_path / "site")) == []
    shown = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE))
    there = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.md")}
    assert shown <= there
    assert {name for name in there - shown if not name.startswith("notebooks/")} == set()


def test_the_reference_tells_each_setting_and_row() -> None:
    settings, rows = docs_site.settings_page(), docs_site.rows_page()
    assert "| `max_tokens` | integer | `2048` | Tokens of a completion at most. |" in settings
    assert "| `expo.per_problem` | integer |" in settings
    assert "## Sample" in rows
    assert "| `level` | `int` or `None` |" in rows
    assert "def " not in docs_site.names_page()
    assert "## open_engine" in docs_site.names_page()


def test_every_file_that_a_page_names_is_there() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md", *(ROOT / "docs").glob("*.md")]
    named = re.compile(r"\b(?:expo_bench|tests|train|tools|analysis)/[\w/.-]+\.(?:pyi?|ya?ml|sh|j2|txt)\b")
    gone = [
        f"{page.name}: {file}"
        for page in pages
        for file in named.findall(page.read_text())
        if not (ROOT / file).exists()
    ]
    assert gone == []
