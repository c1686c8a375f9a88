"""What the arms of a study solve in the end, checked by hand."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from analysis import ablations
from expo_bench.studies.study import load_study, runs
from tests.ledger.ledger_runs import write_run

SHARED = {"model": "micro", "benchmark": "micro", "steps": 2, "num_generations": 2}
# a string a problem, a letter a sample
SOLVED = {
    ("grpo", 0): ["+" * 2 + "-" * 6, "-" * 8],
    ("grpo", 1): ["+" * 4 + "-" * 4, "-" * 8],
    ("expo", 0): ["+" * 6 + "-" * 2, "+" * 4 + "-" * 4],
    ("expo", 1): ["+" * 6 + "-" * 2, "+" * 4 + "-" * 4],
    ("few", 0): ["+-", "--"],
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    arms = {"grpo": {"method": "grpo"}, "expo": {"method": "expo_grpo"}, "few": {"method": "grpo", "max_tokens": 9}}
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump({"seeds": [0, 1], "shared": SHARED, "arms": arms}, sort_keys=False)
    )
    for run in runs(load_study(tmp_path / "study.yaml"), tmp_path):
        if (run.arm, run.seed) not in SOLVED:
            continue
        run.folder.checkpoint(2).mkdir(parents=True)
        (run.folder.checkpoint(2) / "trainer_state.json").write_text("{}")
        run.folder.record_path.write_text("{}")
        write_run(run.folder.evaluation(2).path, SOLVED[run.arm, run.seed])
    return tmp_path


def test_levels_and_differences_by_hand(study: Path) -> None:
    found = ablations.ends(study)
    assert found["grpo"] == {
        0: {"mine-000000000000": (8, 2), "mine-000000000001": (8, 0)},
        1: {"mine-000000000000": (8, 4), "mine-000000000001": (8, 0)},
    }
    own = ablations.levels("grpo", found["grpo"], 1)
    assert own.seeds == (1 / 8, 1 / 4)
    assert own.value == pytest.approx(3 / 16)
    # seed 0: (6 - 2 + 4) / 16; seed 1: (6 - 4 + 4) / 16
    change = ablations.differences("expo", found["expo"], found["grpo"], 1)
    assert change.seeds == (8 / 16, 6 / 16)
    assert change.low is not None and change.high is not None and change.low <= change.value <= change.high
    # two seeds and two problems say next to nothing of others
    assert change.low < 0 and change.high == 1
    # pass@8 takes all eight samples: solved or not
    assert ablations.differences("expo", found["expo"], found["grpo"], 8).seeds == (1 / 2, 1 / 2)
    # no difference on two problems: at least 0.025^(1/2) of all problems have none
    assert ablations.differences("grpo", found["grpo"], found["grpo"], 1).low == pytest.approx(0.025**0.5 - 1)


def test_a_study_becomes_a_table_and_a_figure(study: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["ablations", str(study), "-o", str(study / "out")])
    ablations.main()
    lines = (study / "out" / "ablations.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "| arm | problems | seeds | pass@1, % | pass@8, % | pass@1 minus grpo | pass@8 minus grpo |"
    assert lines[2].startswith("| grpo | 2 | 2 | 18.8 [") and lines[2].endswith("| – | – |")
    assert lines[3].startswith("| expo | 2 | 2 | 62.5 [") and "| +43.8 [-35.7, 100.0] |" in lines[3]
    # two samples a problem: no pass@8, and seed 0 alone to be compared
    assert lines[4].startswith("| few | 2 | 1 | 25.0 [") and lines[4].split(" | ")[4] == "–"
    assert lines[4].endswith("| – |")
    assert ElementTree.parse(study / "out" / "ablations.svg").getroot().tag.endswith("svg")
    assert capsys.readouterr().out.splitlines()[-1] == str(study / "out")
    monkeypatch.setattr(sys, "argv", ["ablations", str(study / "grpo")])
    with pytest.raises(SystemExit):
        ablations.main()
    assert "study.yaml" in capsys.readouterr().err
