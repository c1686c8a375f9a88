"""The simulations behind the tables of docs/metrics.md and docs/sharpening.md."""

import subprocess
import sys

import numpy as np
import pytest

from analysis import coverage
from expo_bench import intervals


def test_exact_coverage_is_that_of_the_rule() -> None:
    """The closed form of the ends against the bootstrap that the tool draws, and the numbers of the docs."""
    rows = [line.strip("| ").split(" | ") for line in coverage.exact(0)[3:]]
    assert [row[0] for row in rows] == ["P = 15", "P = 30", "P = 43", "P = 100", "P = 500"]
    assert [float(row[1]) for row in rows] == pytest.approx([0.959, 0.957, 0.957, 0.955, 0.953], abs=0.001)
    assert [float(row[2].split(",")[0]) for row in rows] == pytest.approx(
        [0.902, 0.923, 0.937, 0.942, 0.947], abs=0.001
    )
    rng = np.random.default_rng(0)
    values = (rng.random((30, 500)) < 0.5).astype(float)
    low, high = intervals.rates(values, np.ones_like(values), 2000, 0)
    assert np.mean((low <= 0.5) & (high >= 0.5)) == pytest.approx(float(rows[1][1]), abs=0.04)


def test_nothing_is_claimed_too_often() -> None:
    """Four simulations of each cell: of 72 families 11 or more would claim something with a chance of 0.001."""
    rows = [line.strip("| ").split(" | ") for line in coverage.other_false_claims(4)[3:]]
    shares = np.array([[float(share) for share in row[2:]] for row in rows])
    assert shares.shape == (18, 5)
    assert (shares.sum(axis=0) * 4 < 11).all()


def test_command_names_its_tables() -> None:
    done = subprocess.run([sys.executable, "-m", "analysis.coverage", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no table nothing; there are rates, exact" in done.stderr
