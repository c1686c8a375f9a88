"""The ledger of a study whose arms were not all evaluated alike, on run folders made by hand."""

from pathlib import Path

import pytest

from expo_bench.grading.judge import GRADER
from expo_bench.reports.ledger_page import ledger_page
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.studies.ledger import study_ledger
from expo_bench.studies.study import Run
from expo_bench.studies.tables import ledger_table
from expo_bench.trainers.recipe import Recipe
from tests.ledger.ledger_runs import write_run

BEFORE, AFTER = ["+---", "----"] * 4, ["++++", "+++-"] * 4


def arm(
    path: Path,
    name: str,
    *,
    seed: int = 0,
    before: list[str] | None = BEFORE,
    after: list[str] = AFTER,
    **asked: object,
) -> Run:
    """Write a trained run with its two evaluations; they share a model name, as the base of a study does."""
    folder = TrainingFolder(path / name / f"seed-{seed}")
    folder.checkpoint(4).mkdir(parents=True)
    (folder.checkpoint(4) / "trainer_state.json").write_text("{}")
    for step, outcomes in ((0, before), (4, after)):
        if outcomes is not None:
            write_run(folder.evaluation(step).path, outcomes, **asked)  # type: ignore[arg-type]
    recipe = Recipe(method="grpo", model="micro", benchmark="micro", steps=4, num_generations=2)
    return Run(arm=name, seed=seed, recipe=recipe, folder=folder)


def test_arms_that_were_evaluated_alike_share_the_base(tmp_path: Path) -> None:
    ledger = study_ledger([arm(tmp_path, "grpo"), arm(tmp_path, "expo"), arm(tmp_path, "grpo", seed=1)])
    assert ledger is not None
    found = [(one["base"], one["trained"], one["verdict"]["kind"]) for one in ledger.content["comparisons"]]
    assert found == [("the base", name, "new problems") for name in ("grpo, seed 0", "grpo, seed 1", "expo")]
    assert ledger.content["notes"] == []
    assert len(ledger.rows) == 24
    grpo, expo = ledger.content["methods"]
    assert (grpo["verdict"], expo["verdict"]) == ("new problems", None)
    assert grpo["sentence"].startswith("grpo: new problems in every one of 2 seeds (by themselves: new problems, new")
    # 1/8 before, 7/8 after; the second run of grpo is another seed
    assert (grpo["arm"], grpo["seeds"], grpo["value"]) == ("grpo", 2, pytest.approx(0.75))
    assert grpo["low"] < 0.75 < grpo["high"]
    assert (expo["seeds"], "not of the method" in expo["sentence"]) == (1, True)


@pytest.mark.parametrize("asked", [{"first": 100}, {"max_tokens": 32}])
def test_an_arm_evaluated_otherwise_has_its_own_base(tmp_path: Path, asked: dict[str, object]) -> None:
    runs = [arm(tmp_path, "grpo"), arm(tmp_path, "other", **asked), arm(tmp_path, "expo")]
    ledger = study_ledger(runs)
    assert ledger is not None
    content = ledger.content
    found = [(one["base"], one["trained"]) for one in content["comparisons"]]
    assert found == [("the base", "grpo"), ("the base", "expo"), ("the base of other", "other")]
    assert list(content["runs"]) == ["the base", "grpo", "expo", "the base of other", "other"]
    assert content["runs"]["the base of other"]["path"] == str(runs[1].folder.evaluation(0).path)
    assert content["n_problems"] == (16 if "first" in asked else 8)
    [note] = content["notes"]
    assert note.startswith("other: another policy, protocol or other problems")
    page = ledger_page(content, tmp_path / "ledger" / "report.html").read_text(encoding="utf-8")
    assert note.replace("'", "&#39;") in page


def test_an_arm_that_cannot_be_compared_is_left_out_and_named(tmp_path: Path) -> None:
    ungraded = arm(tmp_path, "ungraded")
    RunFolder(ungraded.folder.evaluation(4).path).grades_path(GRADER).unlink()
    ledger = study_ledger([ungraded, arm(tmp_path, "grpo"), arm(tmp_path, "no-base", before=None)])
    assert ledger is not None
    assert [one["trained"] for one in ledger.content["comparisons"]] == ["grpo"]
    missing, broken = ledger.content["notes"]
    assert missing == "no-base is left out: its base or its last checkpoint was not evaluated"
    assert broken.startswith("ungraded is left out: ") and "has no grades" in broken
    assert study_ledger([ungraded]) is None


def test_what_one_seed_shows_alone_is_no_claim_about_the_method(tmp_path: Path) -> None:
    """One seed solves all eight problems, the other none of them any more."""
    full = ["++++++++++++++++"] * 8
    before = ["+---------------", "----------------"] * 4
    runs = [
        arm(tmp_path, "luck", before=before, after=full),
        arm(tmp_path, "luck", seed=1, before=before, after=["-" * 16] * 8),
        arm(tmp_path, "sure", before=before, after=full),
        arm(tmp_path, "sure", seed=1, before=before, after=full),
    ]
    ledger = study_ledger(runs)
    assert ledger is not None
    luck, sure = ledger.content["methods"]
    assert (luck["verdict"], sure["verdict"]) == ("no difference shown", "new problems")
    assert luck["low"] < 0 < luck["high"]
    table = ledger_table(ledger.content)
    assert [row.label for row in table.rows][:3] == ["luck, all 2 seeds", "luck, seed 0", "luck, seed 1"]
    assert table.rows[0].cells[0].text == "no difference shown"


def test_a_seed_without_its_last_evaluation_is_named(tmp_path: Path) -> None:
    ledger = study_ledger([arm(tmp_path, "grpo"), arm(tmp_path, "grpo", seed=1, before=None)])
    assert ledger is not None
    assert [one["trained"] for one in ledger.content["comparisons"]] == ["grpo"]
    assert ledger.content["notes"] == [
        "grpo, 1 of 2 seeds, is left out: its base or its last checkpoint was not evaluated"
    ]
    assert ledger.content["methods"][0]["verdict"] is None
