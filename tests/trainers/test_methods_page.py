"""docs/methods.md: every method has a row, and the method that it writes is one."""

import re
from pathlib import Path

import pytest

from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.studies.study import load_study, runs
from expo_bench.trainers import methods
from expo_bench.trainers.methods.finding import find_method, method_names
from expo_bench.trainers.training import load_recipe, train
from tests.fakes import Silent

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/methods.md").read_text()


def test_the_study_has_every_method_that_draws_at_every_step():
    study = load_study(ROOT / "train/studies/micro-methods.yaml")
    online = {name for name in method_names() if find_method(name).is_online}
    settings = ("3", "4", "5", "mixture")
    assert set(study.arms) == {f"{name}.{setting}" for name in online for setting in settings}
    found = {run.arm: run.recipe for run in runs(study, ROOT)}
    assert all(found[f"{name}.3"].method == name for name in online)
    assert all(tuple(found[f"grpo.{level}"].levels) == (int(level),) for level in "345")


@pytest.fixture
def lenient(tmp_path, monkeypatch):
    """The page's own method, as a file of its name."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(code.splitlines()) <= 30
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "lenient.py").write_text(code)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    for cached in (method_names, find_method):
        cached.cache_clear()
    yield
    for cached in (method_names, find_method):
        cached.cache_clear()


def test_every_method_has_a_row():
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE))
    assert set(method_names()) <= rows


def test_the_cost_of_a_step_is_what_a_plan_reckons_with():
    costs = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 9 and cells[7].isdecimal():
            costs[cells[0].strip("`")] = int(cells[7])
    for name in method_names():
        method = find_method(name)
        if method.is_online:
            assert sum(method.drawn_at_most(method.Settings(), 8).values()) == costs[name]


def test_a_method_of_ones_own_is_a_file(tmp_path, lenient):
    settings = {
        "method": "lenient", "lenient": {"wrong": 0.1}, "model": "micro", "benchmark": "micro", "levels": [2],
        "limit": 4, "steps": 1, "prompts_per_step": 2, "num_generations": 4, "max_tokens": 40,
    }  # fmt: skip
    folder = TrainingFolder(tmp_path / "run")
    train(load_recipe(None, settings), folder, Silent())
    rows = [row for row in folder.rollouts() if row.source == "own"]
    for group in (0, 1):
        members = [row for row in rows if row.group == group]
        mean = sum(row.reward for row in members) / 4
        for row in members:
            gain = row.reward - mean
            assert row.advantage == pytest.approx(gain if gain > 0 else 0.1 * gain, abs=1e-6)
    assert {row.reward for row in rows} == {0.0, 1.0}
