"""Runs as peers, fresh samples for what seems new, rounds until one is better: by hand and through the command."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import fisher_exact
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.errors import UserError
from expo_bench.ledger.confirmation import confirm
from expo_bench.ledger.peers import rank
from expo_bench.ledger.sequential import count_pairs, evidence, told
from expo_bench.ledger.verdicts import confirmed
from tests.ledger.ledger_runs import GRADER, write_run


def test_peers_are_ranked_for_both_targets(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", ["+" * 15 + "-"] * 12)
    same = write_run(tmp_path / "same", ["-" + "+" * 15] * 12)
    weak = write_run(tmp_path / "weak", ["+" + "-" * 15] * 11 + ["+" * 16])
    found = rank([weak, good, same], grader=GRADER)
    runs = {one["name"]: one for one in found["runs"]}
    assert runs["good"]["these_rank"] == runs["same"]["these_rank"] == [1, 2]
    assert runs["weak"]["these_rank"] == runs["weak"]["rank"] == [3, 3]
    pair = next(one for one in found["pairs"] if (one["one"], one["other"]) == ("weak", "good"))
    assert pair["pass_1"]["difference"] == pytest.approx(15 / 16 - (11 / 16 + 1) / 12)
    assert (pair["problems"]["one"], pair["problems"]["other"]) == (0, 11)
    expected = fisher_exact([[1, 15], [15, 1]]).pvalue
    assert pair["problems"]["shown"][0]["p"] == pytest.approx(12 * expected)
    with pytest.raises(UserError, match="two runs or more"):
        rank([good], grader=GRADER)


def test_command_writes_the_page_of_peers(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", ["+-+-", "++++"])
    other = write_run(tmp_path / "other", ["++++", "++++"])
    folder = tmp_path / "out"
    done = CliRunner().invoke(app, ["compare", str(one), str(other), "--peers", "-o", str(folder)])
    assert done.exit_code == 0, done.output
    content = json.loads((folder / "peers.json").read_bytes())
    page = (folder / "report.html").read_text()
    assert content["sentence"] in page
    assert "other minus one" in page


@pytest.mark.parametrize(
    ("tried", "unsolved", "answer"),
    [(0, 0, "nothing to confirm"), (5, 0, "rare before"), (10, 10, "new"), (10, 1, "not decided")],
)
def test_confirmation(tried: int, unsolved: int, answer: str) -> None:
    found = confirm(tried, unsolved, 1024, 1 / 256)
    assert found["answer"] == answer
    if answer == "not decided":
        more = 1024 + found["more_samples"]
        assert confirm(tried, unsolved, more, 1 / 256)["answer"] == "new"
        assert confirm(tried, unsolved, more - 1, 1 / 256)["answer"] == "not decided"


@pytest.mark.parametrize(
    ("before", "unsolved", "kind"),
    [
        ("new problems", 10, "new"),
        ("new problems, others lost", 10, "new, others lost"),
        ("new problems", 0, "rare before"),
        # at 1/256 half a problem of ten is expected to stay unsolved in 768 samples of each
        ("new problems", 1, r"not decided, \d+ more samples of each would"),
        # chance alone brings problems that are rarer than what is confirmed
        ("sharpening", 10, "sharpening"),
        ("no difference shown", 0, "no difference shown"),
    ],
)
def test_the_verdict_follows_the_confirmation(before: str, unsolved: int, kind: str) -> None:
    verdict = {"kind": before, "sentence": f"b against a: {before}. It solved.", "caveats": ["x: --confirm draws"]}
    found = confirmed(verdict, confirm(10, unsolved, 768, 1 / 256), base="a")
    assert re.fullmatch(kind, found["kind"])
    assert found["sentence"].startswith(f"b against a: {found['kind']}. It solved. Confirmation: ")
    assert found["caveats"] == []


def test_evidence_is_a_fair_bet() -> None:
    # the mean over all outcomes of five fair coins is 1
    outcomes = [sum(map(int, f"{number:05b}")) for number in range(32)]
    assert np.mean([evidence(up, 5 - up) for up in outcomes]) == pytest.approx(1)
    # 2^2 B(5/2, 1/2) / B(1/2, 1/2) = 4 * 3/8
    assert evidence(2, 0) == pytest.approx(1.5)
    found = told([(4, 5), (30, 6)], ("a", "b"))
    assert (found["decided"], found["better"]) == (True, "b")
    assert not told([(4, 5)], ("a", "b"))["decided"]


def test_pairs_are_samples_of_one_problem(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", ["+--", "++"])
    other = write_run(tmp_path / "other", ["-+-", "+-"])
    assert count_pairs(one, other, GRADER) == (1, 2)


def test_runs_from_elsewhere_cannot_be_sampled_again(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["-" * 64] * 20)
    trained = write_run(tmp_path / "trained", ["+" * 64] * 20)
    done = CliRunner().invoke(app, ["compare", str(base), str(trained), "--confirm", "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, UserError)
    assert "its samples come from elsewhere" in str(done.exception)


def test_fresh_samples_confirm_and_rounds_decide(tmp_path: Path) -> None:
    """The micro policy, cut off before it can answer, is the base: what is new then is rare before at most."""
    for name, words in (("cut", ["--max-tokens", "8"]), ("whole", ["--max-tokens", "64"])):
        asked = ["eval", "-m", "micro", "-b", "micro", "-n", "4", "--limit", "12", "--shuffle-seed", "0"]
        asked += [*words, "-o", str(tmp_path / name)]
        assert CliRunner().invoke(app, asked).exit_code == 0
    shared = ["compare", str(tmp_path / "cut"), str(tmp_path / "whole"), "-o", str(tmp_path / "out")]
    confirming = [*shared, "--allow-different-protocol", "--confirm", "--confirm-samples", "8", "--json"]
    found = [json.loads(CliRunner().invoke(app, confirming).stdout) for _ in range(2)]
    section = found[0]["comparisons"][0]
    assert section["confirmation"]["samples"] == 8
    assert section["confirmation"]["problems"] == section["subsets"]["all"]["cells"]["trained_only"]
    assert "Confirmation: " in section["verdict"]["sentence"]
    # the same command again finds what was drawn
    assert found[1] == found[0]
    rounds = [
        *shared,
        "--allow-different-protocol",
        "--until-decided",
        "--round-samples",
        "4",
        "--rounds",
        "3",
        "--json",
    ]
    done = CliRunner().invoke(app, rounds)
    assert done.exit_code == 0, done.output
    told_so = json.loads(done.stdout)
    assert told_so["decided"] or len(told_so["rounds"]) == 4
