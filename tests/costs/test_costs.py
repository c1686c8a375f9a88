"""What a run would take, against what it took."""

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.commands.progress import TerminalProgress
from expo_bench.config import load_candidates_config, load_config
from expo_bench.costs import costs
from expo_bench.costs.costs import Cost, likelihood_costs, run_costs
from expo_bench.costs.probing import Drawn, spread
from expo_bench.costs.studies import study_costs
from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.rendering import problem_ids
from expo_bench.errors import UserError
from expo_bench.evaluation.pipeline import evaluate
from expo_bench.evaluation.planning import Plan, plan
from expo_bench.likelihood.pipeline import Policy, make_candidates, measure
from expo_bench.studies.study import Study, runs
from tests.fakes import problem

SETTINGS = {"model": "micro", "benchmarks": ["micro"], "limit": 12, "shuffle_seed": 0, "max_tokens": 48}


def planned(path: Path, **settings: object) -> Plan:
    return plan(load_config(None, {**SETTINGS, "n": 4, **settings}), path / "run")


def by_stage(found: costs.Estimate) -> dict[str, Cost]:
    return {cost.stage: cost for cost in found.costs}


def seen(**fields: int) -> Drawn:
    return Drawn(
        **{"samples": 4, "ended": 2, "tokens": 28, "limit": 10, "most": 12, "seconds": 2, "disk": 280, **fields}
    )


def test_expected_length():
    # lengths 10+, 10+, 5 and 3: 2 ends in 28 tokens; half the samples have 1 + 13/14 more tokens to come
    assert seen().length == pytest.approx(7 + 0.5 * (1 + 13 / 14))
    assert seen(ended=0, tokens=40).length == 12
    assert seen(ended=4, tokens=20).length == 5
    assert seen(limit=12, most=12).length == 7
    # without a limit of the run, a share of 1/2 has the whole mean 1 / h to come
    assert seen(most=10**6).length == pytest.approx(7 + 0.5 * 14)
    assert seen().seconds_for(100) == pytest.approx(100 / 14)
    # of 4 rows with 208 bytes each and 28 tokens, 280 bytes are the tokens'
    assert seen(disk=4 * 208 + 280).disk_for(3, 100) == 3 * 208 + 1000


def test_a_plan_alone_counts_what_is_lacking(tmp_path):
    found = by_stage(run_costs(planned(tmp_path, thinking_tokens=16), None, TerminalProgress()))
    assert found["samples"].count == 48
    assert found["samples"].most_tokens == 48 * (48 + 16)
    assert found["samples"].seconds is None
    assert found["grades"].count == 48
    assert not list(tmp_path.iterdir())


def test_a_probe_of_all_that_is_to_do_is_exact(tmp_path):
    run = planned(tmp_path)
    estimate = run_costs(run, 600, TerminalProgress())
    found = by_stage(estimate)["samples"]
    assert not list(tmp_path.iterdir())
    assert "over 48 samples of at most 48 tokens" in estimate.notes[0]

    evaluate(run, TerminalProgress())
    samples = [*run.run.samples()]
    assert found.count == len(samples)
    assert found.tokens == sum(row.n_tokens for row in samples)
    assert found.disk == run.run.samples_path.stat().st_size
    tokenizer = load_tokenizer(find_model("micro"))
    assert found.prompt_tokens == sum(len(problem_ids(tokenizer, run.prompt, one)) for one in run.problems)
    assert 0 < found.seconds < 600
    again = run_costs(planned(tmp_path), 600, TerminalProgress())
    assert again.costs == []


def test_a_short_probe_reckons_what_was_cut_off(tmp_path):
    short = run_costs(planned(tmp_path), 1e-6, TerminalProgress())
    found = by_stage(short)["samples"]
    assert "at most 16 tokens" in short.notes[0]
    whole = by_stage(run_costs(planned(tmp_path), 600, TerminalProgress()))["samples"]
    assert 0.5 < found.tokens / whole.tokens < 2
    assert found.tokens <= found.most_tokens == whole.most_tokens


def test_candidates_and_their_likelihoods(tmp_path):
    run = plan(load_candidates_config(None, {**SETTINGS, "n": 3, "per_source": 2}), tmp_path / "run")
    found = by_stage(run_costs(run, 600, TerminalProgress()))
    make_candidates(run, TerminalProgress())
    explanations = [*run.run.explanations()]
    assert found["samples"].count == 36
    assert found["self-explanations"].count == len(explanations) == 24
    assert found["self-explanations"].tokens == sum(row.n_tokens for row in explanations)
    assert found["self-explanations"].disk == run.run.explanations_path.stat().st_size
    assert found["candidates"].disk == pytest.approx(run.run.candidates_path.stat().st_size, rel=0.3)

    policy = Policy(model="micro")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    plain = likelihood_costs(run.run, [policy], None, TerminalProgress()).costs
    loading, scoring = likelihood_costs(run.run, [policy], 5, TerminalProgress()).costs
    scored, drawn = likelihood_costs(run.run, [policy], None, TerminalProgress(), answers=2).costs
    assert scored == plain[0]
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    measure(run.run, [policy], TerminalProgress(), answers=2)
    answers = [*run.run.slot_answers("micro")]
    assert drawn.count == 2 * len(answers) and drawn.most_tokens == 32 * drawn.count
    assert drawn.disk == pytest.approx(run.run.slot_answers_path("micro").stat().st_size, rel=0.3)
    assert len(likelihood_costs(run.run, [policy], None, TerminalProgress(), answers=2).costs) == 1
    rows = [*run.run.likelihoods("micro")]
    assert scoring.count == plain[0].count == len(rows)
    assert scoring.tokens == plain[0].tokens == sum(row.n_tokens for row in rows)
    assert 0 < scoring.seconds < 600 and loading.seconds > 0
    written = sum(path.stat().st_size for path in (run.run.path / "likelihoods").rglob("*") if path.is_file())
    assert scoring.disk == pytest.approx(written, rel=0.5)


def test_problems_of_a_probe_are_spread_over_levels():
    listed = [problem(number) for number in range(50)]
    assert Counter(one.level for one in spread(listed, 10)) == dict.fromkeys(range(1, 6), 2)
    assert spread(listed[:3], 8) == sorted(listed[:3], key=lambda one: one.level)


def test_a_study_is_the_sum_of_its_runs(tmp_path):
    shared = {
        "model": "micro", "benchmark": "micro", "steps": 6, "save_every": 3, "prompts_per_step": 2, "max_tokens": 40,
        "num_generations": 4, "evaluation": {"benchmarks": ["micro"], "limit": 5, "n": 2},
    }  # fmt: skip
    arms = {"grpo": {"method": "grpo"}, "expo": {"method": "expo_grpo"}}
    study = Study(seeds=(0, 1), shared=shared, arms=arms)
    estimate = study_costs(study, runs(study, tmp_path), tmp_path, 0.5, TerminalProgress(), on_gpu=False)
    found = by_stage(estimate)
    # 6 steps of 2 problems: 4 rollouts each, in expo an explanation more; two seeds
    assert found["rollouts"].count == 2 * 6 * (8 + 10)
    assert found["rollouts"].most_tokens == found["rollouts"].count * 40
    # 5 problems x 2 samples: the base once a seed, two checkpoints of each of the four runs
    assert found["evaluation of the base"].count == 2 * 10
    assert found["evaluations of checkpoints"].count == 8 * 10
    assert found["checkpoints"].count == 8
    assert 0 < found["rollouts"].tokens <= found["rollouts"].most_tokens
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "-m", "micro", "-b", "micro"],
        ["candidates", "-m", "micro", "-b", "micro"],
        ["likelihood", "run", "-m", "micro"],
        ["train", "recipe.yaml"],
        ["study", "study.yaml"],
    ],
    ids=lambda words: words[0],
)
def test_a_probe_without_a_plan_is_refused(words):
    error = CliRunner().invoke(app, [*words, "--probe", "5"]).exception
    assert isinstance(error, UserError)
    assert "goes with --dry-run" in str(error)


def test_the_plan_as_json_and_as_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["eval", "-m", "micro", "-b", "micro", "--limit", "3", "-n", "2", "--max-tokens", "32", "--dry-run"]
    shown = CliRunner().invoke(app, [*words, "--probe", "600"])
    assert "over 6 samples of at most 32 tokens" in " ".join(shown.stderr.split())
    assert "generations: 6 to do, 0 done, 6 in all" in shown.stdout
    printed = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert printed["problems"] == 3
    assert printed["costs"][0]["most_tokens"] == 6 * 32
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_plan_of_rounds_names_what_differs_in_each():
    words = ["train", "train/configs/micro-still.yaml", "still.learn=dpo", "still.start=continued", "--dry-run"]
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    shown = CliRunner().invoke(app, words).stdout
    assert found["trl"]["max_steps"] == 150
    # the first round imitates by SFT, the others learn by DPO
    assert "beta" not in found["trl"]
    assert [one["max_steps"] for one in found["trl_rounds"]] == [300, 450, 600]
    assert all(one["beta"] == 0.1 for one in found["trl_rounds"])
    assert "# trl of round 3: max_steps 600, beta 0.1" in shown
