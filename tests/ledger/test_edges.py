"""Runs at the edges: each has a ledger without NaN, or one line that says why not."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.errors import UserError
from expo_bench.ledger.compare import Request, compare, with_confirmation
from tests.ledger.ledger_runs import write_run

EDGES = {
    "one sample": (["+", "-", "+"], ["+", "+", "-"], "nothing concluded"),
    "one problem": (["+-++"], ["++++"], "no difference shown"),
    "one problem, one sample": (["-"], ["+"], "nothing concluded"),
    "all right": (["++++"] * 5, ["++++"] * 5, "no difference shown"),
    "all wrong": (["----"] * 5, ["----"] * 5, "no difference shown"),
    "all wrong, then all right": (["-" * 8] * 20, ["+" * 8] * 20, "new problems"),
    "all right, then all wrong": (["+" * 8] * 20, ["-" * 8] * 20, "collapse"),
    "no answers": (["nnnn"] * 5, ["nnnn"] * 5, "no difference shown"),
    "unequal n": (["+-+-", "+-", "---"], ["++", "+-+-", "---+"], "no difference shown"),
    "identical": (["+-+-", "----", "++++"], ["+-+-", "----", "++++"], "no difference shown"),
}


@pytest.mark.parametrize("edge", EDGES)
def test_a_ledger_at_the_edge(tmp_path: Path, edge: str) -> None:
    base, trained, kind = EDGES[edge]
    paths = [str(write_run(tmp_path / name, one)) for name, one in (("base", base), ("trained", trained))]
    found = _json(["compare", *paths, "-o", str(tmp_path / "ledger"), "--json"])
    section = found["comparisons"][0]
    assert section["verdict"]["kind"] == kind
    page = (tmp_path / "ledger" / "report.html").read_text(encoding="utf-8")
    # the first figure goes on to 4n, and says where it ends
    farthest = 4 * section["subsets"]["all"]["budget"]["smallest"]
    assert f"Between the upright line at n and k = {farthest}" in page and "Beyond, pass@k is not identified" in page
    assert "these problems: " in page and "problems like these: " in page
    change = section["subsets"]["all"]["pass_at_k"]["difference"]
    # one problem says nothing of others
    assert (change["low"][0] is None) == (len(base) == 1)
    assert change["these_low"][0] <= change["value"][0] <= change["these_high"][0]
    peers = _json(["compare", *paths, "--peers", "-o", str(tmp_path / "peers"), "--json"])
    assert peers["runs"][0]["rank"][0] == 1


def _json(command: list[str]) -> dict[str, Any]:
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_runs_that_tell_nothing_are_one_line(tmp_path: Path) -> None:
    right, silent = write_run(tmp_path / "right", ["++++"]), write_run(tmp_path / "silent", ["tttt"])
    for flags in ([], ["--peers"]):
        done = CliRunner().invoke(app, ["compare", str(right), str(silent), *flags, "-o", str(tmp_path / "out")])
        assert isinstance(done.exception, UserError)
        assert "no problem in common" in str(done.exception)


def test_fresh_samples_that_timed_out_are_no_failures(tmp_path: Path) -> None:
    base, trained = (
        write_run(tmp_path / name, [letter * 8] * 20) for name, letter in (("base", "-"), ("trained", "+"))
    )
    ledger = compare(Request(base=base, trained=(trained,)))
    fresh = write_run(tmp_path / "fresh", ["t" * 64] * 12 + ["-" * 64] * 8)
    found = with_confirmation(ledger, fresh, 1 / 256).content["comparisons"][0]["confirmation"]
    assert (found["problems"], found["unsolved"], found["problems_left_out"]) == (8, 8, 12)
    with pytest.raises(UserError, match="no fresh sample tells"):
        with_confirmation(ledger, write_run(tmp_path / "silent", ["t" * 64] * 20), 1 / 256)
