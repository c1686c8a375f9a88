"""The grid of learning rates before a study."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.errors import UserError
from expo_bench.studies import rates
from expo_bench.studies.study import Study
from tests.studies.test_study import SHARED


def study(suffix=None, **arms):
    grid = {"values": [1e-3, 1e-2], "seeds": [7, 8], "suffix": suffix}
    return Study(seeds=(0, 1), shared=SHARED, arms=arms, rates=grid)


def choose(monkeypatch, tmp_path, chosen, solved):
    monkeypatch.setattr(rates, "train_all", lambda *_: ["a line"])
    monkeypatch.setattr(rates, "solved", lambda listed: solved)
    found, failed = rates.with_rates(chosen, tmp_path, None, 1)
    assert failed == ["a line"]
    return {arm: settings["learning_rate"] for arm, settings in found.arms.items()}


def test_each_arm_takes_the_rate_that_solves_most(monkeypatch, tmp_path):
    chosen = study(a={"method": "grpo"}, b={"method": "grpo"}, c={"method": "grpo"})
    solved = {"a_0.001": [0.1, 0.2], "a_0.01": [0.4, 0.0], "b_0.001": [0.0], "b_0.01": [0.0], "c_0.01": [0.0]}
    assert choose(monkeypatch, tmp_path, chosen, solved) == {"a": 1e-2, "b": 1e-3, "c": 1e-2}
    assert json.loads((tmp_path / "rates.json").read_text())["chosen"]["a"] == 1e-2


def test_arms_of_one_method_share_the_rate_of_one_of_them(monkeypatch, tmp_path):
    arms = {"a.easy": {"method": "grpo"}, "a.hard": {"method": "grpo"}}
    chosen = study(suffix="hard", **arms)
    assert list(rates.rate_study(chosen).arms) == ["a.hard_0.001", "a.hard_0.01"]
    solved = {"a.hard_0.001": [0.1], "a.hard_0.01": [0.4]}
    assert choose(monkeypatch, tmp_path, chosen, solved) == {"a.easy": 1e-2, "a.hard": 1e-2}
    with pytest.raises(UserError, match=r"arm b.easy: rates.suffix looks for an arm b.hard"):
        choose(monkeypatch, tmp_path, study(suffix="hard", **arms, **{"b.easy": {"method": "grpo"}}), solved)
    with pytest.raises(UserError, match="no run of its learning rates came to its end; a line"):
        choose(monkeypatch, tmp_path, chosen, {})


def test_a_seed_that_is_reported_is_not_chosen_on(tmp_path):
    file = tmp_path / "study.yaml"
    content = {"seeds": [0, 7], "arms": {"a": {"method": "grpo"}}, "rates": {"values": [1e-3], "seeds": [7]}}
    file.write_text(yaml.safe_dump(content))
    found = CliRunner().invoke(app, ["study", str(file), "--dry-run"])
    assert "rates.seeds may hold none of seeds" in str(found.exception)
