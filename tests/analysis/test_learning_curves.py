"""The figures and tables of a study and of training runs, on inputs small enough to be checked by hand."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from analysis import learning_curves, training_likelihood
from expo_bench import Rollout, TrainingFolder, study_markdown
from expo_bench.storage.row_files import encode


def point(arm: str, step: int, metric: str, *per_seed: float, level: int | None = None) -> dict[str, object]:
    mean = sum(per_seed) / len(per_seed)
    counted = metric == "groups all wrong"
    return {
        "arm": arm, "step": step, "metric": metric, "level": level, "value": mean, "per_seed": per_seed,
        "ci_low": None if counted else mean - 0.05, "ci_high": None if counted else mean + 0.05,
        "n_problems": 0 if counted else 10, "generated_tokens": 1234.5 * step,
    }  # fmt: skip


POINTS = [
    point("grpo", 0, "pass@1", 0.1, 0.2),
    point("grpo", 0, "pass@8", 0.3, 0.4),
    point("grpo", 2, "pass@1", 0.25, 0.5),
    point("grpo", 2, "pass@1", 0.9, 0.9, level=5),
    point("grpo", 2, "pass@8", 0.5, 0.75),
    point("grpo", 2, "groups all wrong", 1.0, 1.0),
    point("expo_grpo", 0, "pass@1", 0.1),
    point("expo_grpo", 0, "pass@8", 0.3),
    point("expo_grpo", 4, "pass@1", 0.6),
    point("expo_grpo", 4, "pass@8", 0.95),
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "curves.json").write_text(json.dumps(POINTS))
    return tmp_path


def run(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["analysis", *map(str, words)])
    main()


def refused(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys, *words: object) -> str:
    with pytest.raises(SystemExit) as ended:
        run(main, monkeypatch, *words)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def texts(file: Path) -> str:
    """Return the labels of a figure; matplotlib draws glyphs as paths, and names each text in a comment."""
    assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    return file.read_text(encoding="utf-8")


def labels(file: Path) -> set[str]:
    """Return the words of a figure whose text is text."""
    return {"".join(one.itertext()).strip() for one in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}text")}


def test_table_has_the_last_point_of_each_arm_and_equal_tokens(study: Path) -> None:
    methods = [{"arm": "grpo", "verdict": "sharpened"}]
    lines = study_markdown(learning_curves.read_points(study), {"methods": methods}).splitlines()
    assert lines[:1] + lines[2:4] == [
        "| Arm | pass@1 | seeds | pass@4 | pass@8 | all wrong | entropy | tokens | verdict |",
        # means of (0.25, 0.5) and (0.5, 0.75), 5 points to either side; 1234.5 tokens a step, 2 and 4 steps
        "| expo_grpo | 60.0 [55.0–65.0] | 60.0 | – | 95.0 [90.0–100.0] | – | – | 4,938 | – |",
        "| grpo | 37.5 [32.5–42.5] | 25.0, 50.0 | – | 62.5 [57.5–67.5] | 100 | – | 2,469 | sharpened |",
    ]
    # grpo, the first, ends at 2,469 tokens, halfway between 10% and 60% of the other
    assert lines[-4:-2] == [
        "| grpo | 37.5 | 62.5 | 37.5 [32.5–42.5] | 62.5 [57.5–67.5] | 2 | 2,469 |",
        "| expo_grpo | 35.0 | 62.5 | 10.0 [5.0–15.0] | 30.0 [25.0–35.0] | 0 | 0 |",
    ]


def test_arms_need_not_have_every_metric(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # evaluated with 4 samples a problem there is no pass@8; another arm of the same study may have it
    few = [point("few", 0, "pass@1", 0.5), point("few", 0, "pass@4", 0.75)]
    (study / "curves.json").write_text(json.dumps(few))
    run(learning_curves.main, monkeypatch, study)
    assert (study / "figures/table.md").read_text().splitlines()[2] == (
        "| few | 50.0 [45.0–55.0] | 75.0 [70.0–80.0] | – | – | – | 0 |"
    )
    (study / "curves.json").write_text(json.dumps([*few, point("more", 0, "pass@1", 0.5), *POINTS[8:]]))
    rows = study_markdown(learning_curves.read_points(study)).splitlines()
    # no column of seeds, no log of entropy or groups; by pass@1: expo_grpo, then few and more
    assert rows[0] == "| Arm | pass@1 | pass@4 | pass@8 | all wrong | entropy | tokens |"
    assert [row.count(" – ") for row in rows[2:5]] == [3, 3, 4]


def test_a_study_becomes_figures_and_a_table(study: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    expected = study_markdown(learning_curves.read_points(study))
    run(learning_curves.main, monkeypatch, study)
    assert (study / "figures/table.md").read_text() == expected
    assert capsys.readouterr().out == expected + f"{study / 'figures'}\n"
    everything = labels(study / "figures/arms.svg")
    out = study / "chosen"
    run(learning_curves.main, monkeypatch, study, "-o", out, "--figure", "a-b=grpo", "--figure", "c=grpo,expo_grpo")
    assert sorted(path.name for path in out.iterdir()) == ["a-b.svg", "c.svg", "table.md"]
    assert {"grpo", "expo_grpo"} <= everything and {"grpo", "expo_grpo"} <= labels(out / "c.svg")
    assert {"grpo", "expo_grpo"} & labels(out / "a-b.svg") == {"grpo"}


def test_bad_input_of_a_study(study: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    line = refused(learning_curves.main, monkeypatch, capsys, study / "nowhere")
    assert "curves.json" in line and "run expo-bench study first" in line
    for figure in ("a=grpo,gone", "a", "../a=grpo", "=grpo"):
        line = refused(learning_curves.main, monkeypatch, capsys, study, "--figure", figure)
        assert figure in line and "NAME=ARM,ARM of grpo,expo_grpo" in line


def rollout(step: int, source: str, at: int, n_tokens: int, logprob: float | None, reward: float | None) -> Rollout:
    return Rollout(
        step=step, group=0, problem_id="p", level=3, source=source, sample_index=at, text="", n_tokens=n_tokens,
        finish_reason="stop", sum_logprob=logprob, status="graded", reward=reward, advantage=None, weight=None,
        leaks_answer=None,
    )  # fmt: skip


ROLLOUTS = [
    rollout(0, "own", 0, 4, -2.0, 0.0),  # -0.5 a token
    rollout(0, "own", 1, 2, -3.0, 0.0),  # -1.5
    rollout(0, "self_explanation", 0, 10, -1.0, None),  # -0.1
    rollout(0, "expert", 0, 2, -34.0, None),  # -17
    rollout(1, "own", 0, 5, -1.0, 1.0),  # -0.2
    rollout(1, "own", 1, 5, None, 1.0),
    rollout(1, "own", 2, 0, 0.0, 1.0),
    rollout(1, "expert", 0, 2, None, None),
]


@pytest.fixture
def training(tmp_path: Path) -> Path:
    path = tmp_path / "grpo" / "seed-0"
    path.mkdir(parents=True)
    TrainingFolder(path).rollouts_path.write_bytes(b"".join(encode(row) for row in ROLLOUTS))
    return path


def test_means_are_over_chains_that_were_measured() -> None:
    found = training_likelihood.mean_logprobs(ROLLOUTS)
    # (-0.5 - 1.5) / 2, each chain alike whatever its length; unmeasured and empty chains are left out
    assert found == {
        "own": {0: pytest.approx(-1.0), 1: pytest.approx(-0.2)},
        "self_explanation": {0: pytest.approx(-0.1)},
        "expert": {0: pytest.approx(-17.0)},
    }


def test_panels_of_a_training_run(training: Path) -> None:
    above, below = training_likelihood.draw(training_likelihood.read([training])).axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in below.lines}
    # the only group is all wrong at step 0 and all right at step 1
    assert lines == {"all wrong, level 3": ([0, 1], [1.0, 0.0]), "all right, level 3": ([0, 1], [0.0, 1.0])}
    assert [line.get_label() for line in above.lines] == ["own", "self explanation", "expert"]
    assert math.isclose(above.lines[2].get_ydata()[0], -17.0)
    assert above.get_title() == "grpo, seed-0"


def test_problems_without_levels_have_none_in_the_figure() -> None:
    _, below = training_likelihood.draw([("grpo", [replace(row, level=None) for row in ROLLOUTS])]).axes
    assert [line.get_label() for line in below.lines] == ["all wrong", "all right"]


def test_training_runs_become_a_figure(training: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    out = training / "likelihood.svg"
    run(training_likelihood.main, monkeypatch, training, training, "-o", out)
    assert (
        capsys.readouterr().out
        == training_likelihood.table(training_likelihood.read([training, training])) + f"{out}\n"
    )
    assert texts(out).count("<!-- grpo, seed-0 -->") == 2


def test_the_thirds_of_a_training_run(tmp_path: Path) -> None:
    path = tmp_path / "grpo" / "seed-0"
    path.mkdir(parents=True)
    cut = replace(rollout(4, "expert", 0, 2, None, 0.0), finish_reason="length")
    # six steps: the second of two thirds has no chains
    rows = [*ROLLOUTS, cut, rollout(5, "own", 0, 4, -8.0, None)]
    TrainingFolder(path).rollouts_path.write_bytes(b"".join(encode(row) for row in rows))
    told = training_likelihood.table(training_likelihood.read([path])).splitlines()
    assert [line.removeprefix("| grpo, seed-0 | ") for line in told[2:]] == [
        "0 to 1 | own | 5 | 3 | 0 | 0.50 | 0.73 | 3 |",
        "0 to 1 | self_explanation | 1 | 0 | 0 | 0.10 | 0.10 | 1 |",
        "0 to 1 | expert | 2 | 0 | 0 | 17.00 | 17.00 | 1 |",
        "4 to 5 | own | 1 | 0 | 0 | 2.00 | 2.00 | 1 |",
        "4 to 5 | expert | 1 | 0 | 1 | – | – | 0 |",
    ]


def test_a_folder_without_rollouts(training: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    out = training / "likelihood.svg"
    line = refused(training_likelihood.main, monkeypatch, capsys, training, training.parent, "-o", out)
    assert str(training.parent) in line and "no rollouts.jsonl" in line and not out.exists()
