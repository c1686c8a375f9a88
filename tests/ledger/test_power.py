"""What a plan promises, against simulation and the formula."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.ledger import exchange
from expo_bench.ledger.power import difficulty, least_rise, verdict_power


def test_more_samples_and_problems_show_less_and_these_problems_need_least() -> None:
    rates = difficulty(1 / 3, 1.5)
    rises = [least_rise(rates, 30, n) for n in (1, 4, 16, 64)]
    assert all(these <= like for these, like in rises)
    assert [these for these, _ in rises] == sorted((these for these, _ in rises), reverse=True)
    # an independent computation for a base of Beta(1/2, 1) with 30 problems: 27.8 / 26.6 at n = 1, 7.0 / 3.7 at 64
    assert rises[0] == (pytest.approx(0.266, abs=0.02), pytest.approx(0.278, abs=0.02))
    assert rises[3] == (pytest.approx(0.037, abs=0.01), pytest.approx(0.070, abs=0.015))


def test_the_rise_is_seen_in_four_of_five_cases() -> None:
    rng = np.random.default_rng(0)
    rates = difficulty(0.5, 4)
    these, _ = least_rise(rates, 40, 16)
    seen = []
    for _ in range(300):
        p = np.clip(rng.choice(rates, 40), 0.0, 1 - these)
        base, trained = rng.binomial(16, p), rng.binomial(16, p + these)
        seen.append(exchange.same_problems_p(np.full(40, 16), base, trained) <= 0.05)
    assert 0.7 <= np.mean(seen) <= 0.9


def test_a_verdict_is_seen_where_there_is_something_new() -> None:
    rates = np.where(np.arange(1000) < 500, 0.0, 0.5)
    assert verdict_power(rates, 100, 64, 0.2, 0.2) > 0.9
    assert verdict_power(rates, 100, 64, 0.0, 0.2) < 0.05


def test_command(tmp_path) -> None:
    done = CliRunner().invoke(app, ["plan", "--problems", "30", "--n", "4,16"])
    assert done.exit_code == 0, done.output
    assert "30 problems" in done.stdout and "expo-bench eval -m MODEL" in done.stdout
    found = json.loads(CliRunner().invoke(app, ["plan", "--problems", "30", "--n", "1", "--json"]).stdout)
    assert found["rows"][0]["verdict"] is None
    # two problems that are nearly always solved cannot rise enough to be seen
    hopeless = ["plan", "--problems", "2", "--mean", "0.999", "--n", "1"]
    assert json.loads(CliRunner().invoke(app, [*hopeless, "--json"]).stdout)["rows"][0]["these"] is None
    assert "out of reach" in CliRunner().invoke(app, hopeless).stdout
    figure = tmp_path / "new" / "plan.svg"
    for more, told in (["--n", "4,16"], "least rise of pass@1, points"), (hopeless[1:], "out of reach"):
        done = CliRunner().invoke(app, ["plan", "--problems", "30", *more, "-o", str(figure)])
        assert done.exit_code == 0 and done.stdout.endswith(f"figure: {figure}\n")
        assert told in figure.read_text(encoding="utf-8")
    assert "how many problems" in str(CliRunner().invoke(app, ["plan"]).exception)
