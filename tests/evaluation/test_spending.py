import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench import RunFolder, UserError
from expo_bench.commands.cli import app
from expo_bench.config import load_candidates_config, load_config
from expo_bench.evaluation.spending import Spending, money, prompt_tokens
from expo_bench.prompts import Prompt
from tests.fakes import problem, sample

SETTINGS = {"model": "m", "benchmarks": ["b"], "price_in": 2.0, "price_out": 10.0}


def test_money_is_of_a_million_tokens() -> None:
    # 2 * 0.5 + 10 * 0.1
    assert money(load_config(None, SETTINGS), 500_000, 100_000) == pytest.approx(2.0)
    assert money(load_config(None, {"model": "m", "benchmarks": ["b"]}), 1, 1) is None
    prompt = Prompt(name="p", user="{question}")
    asked = problem(question="x" * 39)
    assert prompt_tokens(prompt, [asked]) == {asked.problem_id: 10}


def test_the_limit_stops_and_steps_are_told() -> None:
    notes: list[str] = []
    row = sample(n_tokens=100)
    spending = Spending(load_config(None, {**SETTINGS, "max_cost": 0.0045}), {row.problem_id: 50}, notes.append)
    for _ in range(4):
        spending.add(row)  # 50 * 2 + 100 * 10 millionths
    with pytest.raises(UserError, match=r"0\.0055 are spent, and max_cost is 0\.0045; .*greater --max-cost goes on"):
        spending.add(row)
    assert notes[0] == "spent 0.0011 of at most 0.0045" and len(notes) == 4


def test_prompts_are_counted_as_the_server_counts_them() -> None:
    config, rows = load_config(None, SETTINGS), [sample(sample_index=index, n_tokens=1) for index in range(3)]
    guesses = {rows[0].problem_id: 10}
    told = {(rows[0].problem_id, 0): 14, (rows[0].problem_id, 1): 16}
    spending = Spending(config, guesses, print, told)
    spending.count(rows[:2])
    assert (spending.n_prompt, (spending.described() or {})["prompts_by"]) == (30, "the server")
    spending.count(rows[2:])  # one that the server has not told of: 10, times 30 / 20
    assert spending.n_prompt == 45
    assert "in proportion" in (spending.described() or {})["prompts_by"]
    guessed = Spending(config, guesses, print)
    guessed.count(rows)
    assert (guessed.n_prompt, (guessed.described() or {})["prompts_by"]) == (30, "4 characters a token")


@pytest.mark.parametrize(
    ("load", "settings", "says"),
    [
        (load_config, {"max_cost": 1}, "max_cost needs prices"),
        (load_candidates_config, {"max_cost": 1, "price_out": 1}, "candidates have no max_cost"),
    ],
)
def test_settings_that_make_no_sense(load, settings, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=says):
        load(None, {"model": "m", "benchmarks": ["b"], **settings})


def test_a_run_stops_at_its_limit_and_goes_on(tmp_path: Path) -> None:
    words = ["eval", "-m", "micro", "-b", "micro", "--limit", "4", "-n", "2", "--max-tokens", "32"]
    words += ["--price-out", "1000000", "-o", str(tmp_path / "run")]
    planned = CliRunner().invoke(app, [*words, "--dry-run"])
    assert "cost: at most 256" in planned.stderr  # 4 * 2 * 32 tokens at a unit each
    assert "tokens of prompts, by the model's tokenizer" in planned.stderr
    stopped = CliRunner().invoke(app, [*words, "--max-cost", "20"])
    assert isinstance(stopped.exception, UserError) and "max_cost is 20" in str(stopped.exception)
    kept = list(RunFolder(tmp_path / "run").samples())
    assert 0 < len(kept) < 8
    done = CliRunner().invoke(app, [*words, "--max-cost", "1000"])
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    run = RunFolder(tmp_path / "run")
    rows = list(run.samples())
    assert rows[: len(kept)] == kept and len(rows) == 8
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["environment"]["cost"]
    assert told["money"] == told["completion_tokens"] == sum(row.n_tokens or 0 for row in rows)
