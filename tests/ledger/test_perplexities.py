"""Perplexities, rank bias and lift of the sharpening ledger, checked by hand."""

import json
import math
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.ledger.compare import Request, compare
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests.ledger.ledger_runs import candidate, likelihood, write_run


def test_rank_bias_needs_log_probabilities(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["+---", "++++"], logprobs=[-4.0, -3.0, -2.0, -1.0])
    trained = write_run(tmp_path / "trained", ["---+", "+-++"], logprobs=[-4.0, -3.0, -2.0, -1.0])
    request = Request(base=base, trained=(trained,), with_rank_bias=True)
    found = compare(request).content["comparisons"][0]["rank_bias"]
    # base: the unlikeliest of one problem, nothing told by the other; trained: 1, and -4, -2, -1 against -3: 2/3
    assert found["base"]["value"] == 0
    assert found["trained"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["difference"]["value"] == pytest.approx(1)
    assert found["n_problems"] == 1
    silent = write_run(tmp_path / "silent", ["+---", "++++"])
    found = compare(replace(request, trained=(silent,))).content["comparisons"][0]["rank_bias"]
    assert found["base"] is None
    assert "silent carry no log-probability" in found["reason"]
    assert (
        "--rank-bias"
        in compare(replace(request, with_rank_bias=False)).content["comparisons"][0]["rank_bias"]["reason"]
    )


def test_perplexities_come_from_likelihood_rows(tmp_path: Path) -> None:
    base, trained = write_run(tmp_path / "base", ["+-"]), write_run(tmp_path / "trained", ["++"])
    chains = RunFolder(write_run(tmp_path / "chains", ["+-"]))
    with Appender(chains.candidates_path) as file:
        file.append(candidate(f"own-{index}", "own_correct", "trained") for index in range(3))
        file.append([candidate("own-9", "own_incorrect", "base"), candidate("expert-0", "expert", None)])
    with Appender(chains.likelihoods_path("base")) as file:
        file.append(likelihood(f"own-{index}", float(2 + index)) for index in range(3))
        file.append([likelihood("expert-0", 50.0)])
    found = compare(Request(base=base, trained=(trained,), likelihoods=(chains.path,)))
    cells = found.content["comparisons"][0]["perplexity"]
    assert cells["base of trained"] == {"median": 3.0, "quartiles": [2.5, 3.5], "n": 3, "reason": None}
    assert cells["base of expert"]["median"] == 50
    assert cells["base of base"]["median"] is None
    assert "own samples of trained scored under trained" in cells["trained of trained"]["reason"]


def test_perplexities_of_own_samples_come_from_the_runs(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["+-"], logprobs=[-1.0, -1.0])
    cooler = write_run(tmp_path / "cooler" / "base", ["++"], logprobs=[-0.5, -0.5], temperature=0.5)
    trained = write_run(tmp_path / "trained", ["++"], logprobs=[-0.25, -0.25])
    content = compare(Request(base=base, trained=(trained,), controls=(cooler,))).content
    found = {
        one["trained"]: {name: cell["median"] for name, cell in one["perplexity"].items()}
        for one in content["comparisons"]
        if one["base"] == "base"
    }
    e = math.exp
    assert found["trained"] == {
        "base of base": pytest.approx(e(1)), "base of trained": None, "trained of trained": pytest.approx(e(0.25)),
        "base of expert": None,
    }  # fmt: skip
    # one policy at two temperatures: it scores the control's samples as it drew them
    assert found["cooler/base"]["base of trained"] == pytest.approx(e(0.5))


def test_training_may_lift_unlikely_right_samples(tmp_path: Path) -> None:
    base, trained = write_run(tmp_path / "base", ["+-"]), write_run(tmp_path / "trained", ["++"])
    chains = RunFolder(write_run(tmp_path / "chains", ["+-"]))
    # log p before and after: the likely half rises by 1, the unlikely one by 3; a repeated text counts once
    before, after = [-2.0, -4.0, -3.0, -2.0], [-1.0, -1.0, 0.0, -1.0]
    with Appender(chains.candidates_path) as file:
        rows = [candidate(f"own-{index}", "own_correct", "base") for index in range(4)]
        file.append(replace(row, text=text) for row, text in zip(rows, "abca", strict=True))
    for policy, scores in (("base", before), ("trained", after)):
        with Appender(chains.likelihoods_path(policy)) as file:
            file.append(
                replace(likelihood(f"own-{index}", 1.0), sum_logprob=score, policy=policy)
                for index, score in enumerate(scores)
            )
    content = compare(Request(base=base, trained=(trained,), likelihoods=(chains.path,))).content
    found = content["comparisons"][0]["lift_by_rank"]
    assert [found[side]["value"] for side in ("likely", "unlikely", "difference")] == [1, 3, 2]
    assert found["n_problems"] == 1
    bare = compare(Request(base=base, trained=(trained,))).content["comparisons"][0]["lift_by_rank"]
    assert "scored under base and trained" in bare["reason"]


@pytest.mark.slow
def test_four_perplexities_of_a_real_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of docs/sharpening.md, from training to the ledger."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "sharpening.md").read_text(encoding="utf-8")
    [block] = [part for part in re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL) if "expo-bench train" in part]
    shutil.copytree(Path(__file__).resolve().parents[2] / "train", tmp_path / "train")
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        done = CliRunner().invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}\n{done.exception!r}"
    content = json.loads((tmp_path / "results" / "four-ways" / "ledger.json").read_bytes())
    section = content["comparisons"][0]
    cells = section["perplexity"]
    assert {name: cell["reason"] for name, cell in cells.items()} == dict.fromkeys(cells)
    assert [cell["n"] for cell in cells.values()] == [160, 160, 160, 10]
    # the expert's words are not the policy's
    assert cells["base of base"]["median"] < 1.1 < 1000 < cells["base of expert"]["median"]
    assert section["rank_bias"]["reason"] is None
    assert all(run["entropy"]["value"] > 0 for run in content["runs"].values())
