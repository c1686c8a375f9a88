"""The sharpening ledger from run folders to the verdict."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.errors import UserError
from expo_bench.ledger.compare import Request, compare, write
from expo_bench.storage.run_folder import RunFolder
from tests.ledger.ledger_runs import GRADER, write_run


def _numbers(base: Path, trained: Path, subset: str = "all") -> dict:
    return compare(Request(base=base, trained=(trained,))).content["comparisons"][0]["subsets"][subset]


def test_numbers_by_hand(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["++--", "+---", "----", "----"], levels=[1, 1, 2, 2])
    trained = write_run(tmp_path / "trained", ["++++", "----", "+---", "----"], levels=[1, 1, 2, 2])
    found = _numbers(base, trained)
    assert found["cells"] == {"both": 1, "base_only": 1, "trained_only": 1, "neither": 1}
    assert [found[name]["value"] for name in ("srr", "ndr", "nscr")] == pytest.approx([1 / 2, 1 / 2, 0])
    # by luck: 6 of 8 right cannot be, 1 of 8 right twice
    assert found["null"]["expected"] == pytest.approx(0.5 + 0.5)
    # at least one of two events of chance 1/2
    assert found["null"]["p_trained_only"] == pytest.approx(3 / 4)
    # pass@4 - pass@2 of the base: (1 - 5/6) + (1 - 1/2)
    assert found["null"]["base_halves"] == {"budget": 2, "expected": pytest.approx(1 / 6 + 1 / 2)}
    curves = found["pass_at_k"]
    assert curves["k"] == [1, 2, 3, 4]
    assert curves["base"]["value"] == pytest.approx([3 / 16, (5 / 6 + 1 / 2) / 4, (1 + 3 / 4) / 4, 2 / 4])
    assert curves["trained"]["value"] == pytest.approx([5 / 16, 1.5 / 4, 1.75 / 4, 2 / 4])
    # level at k = 3 and 4, never below
    assert found["crossover"]["k"] is None
    assert found["sampling_efficiency_gap"]["value"] == pytest.approx(2 / 4 - 5 / 16)
    assert found["stability"]["Cover@0.5"]["base"]["value"] == pytest.approx(1 / 4)
    assert found["stability"]["G-Pass@4_0.5"]["trained"]["value"] == pytest.approx(1 / 4)
    flows = found["accuracy_flows"]
    assert (flows[5][10], flows[3][0], flows[0][3], flows[0][0]) == (1, 1, 1, 1)
    unlock = found["unlock"]
    assert (unlock["zero_set"], unlock["ever_solved"], unlock["enough_samples"]) == (2, 1, False)
    assert unlock["unlocked"]["value"] == pytest.approx(1 / 2)
    assert found["tests"]["mcnemar"]["p"] == 1
    assert found["tests"]["pass_1"]["difference"] == pytest.approx(2 / 16)
    level = _numbers(base, trained, "level=2")
    assert level["cells"] == {"both": 0, "base_only": 0, "trained_only": 1, "neither": 1}
    assert level["srr"]["value"] is None


# Yue et al., arXiv 2504.13837, appendix: problems of AIME 2024 that Qwen2.5-7B and SimpleRL-Zoo solve at all:
# both 19, the base alone 4, neither 7. Which ones, and how often, is made up here.
def test_published_aime_cells_come_out_as_sharpening(tmp_path: Path) -> None:
    rarely, often, never = "+" * 3 + "-" * 13, "+" * 12 + "-" * 4, "-" * 16
    base = write_run(tmp_path / "base", [rarely] * 23 + [never] * 7)
    trained = write_run(tmp_path / "trained", [often] * 19 + [never] * 11)
    section = compare(Request(base=base, trained=(trained,))).content["comparisons"][0]
    numbers = section["subsets"]["all"]
    assert numbers["cells"] == {"both": 19, "base_only": 4, "trained_only": 0, "neither": 7}
    assert [numbers[name]["value"] for name in ("srr", "ndr", "nscr")] == pytest.approx([19 / 23, 0, -4 / 23])
    assert section["verdict"]["kind"] == "sharpening, problems lost"


@pytest.mark.parametrize(
    ("base", "trained", "kind"),
    [
        (["-" * 8] * 10 + ["+---" * 2] * 10, ["+-+-" * 2] * 10 + ["+---" * 2] * 10, "new problems"),
        (["+---" * 2] * 20 + ["-" * 8] * 5, ["++++" * 2] * 20 + ["-" * 8] * 5, "sharpening"),
        (["+-+-" * 2] * 12, ["-" * 8] * 6 + ["++--" * 2] * 6, "problems lost"),
        (["+-+-" * 2] * 6 + ["-" * 8] * 6, ["-" * 8] * 6 + ["++--" * 2] * 6, "new problems, others lost"),
        (["+---" * 2] * 12, ["-+--" * 2] * 12, "no difference shown"),
    ],
)
def test_verdict_says_which(tmp_path: Path, base: list[str], trained: list[str], kind: str) -> None:
    runs = write_run(tmp_path / "base", base), write_run(tmp_path / "trained", trained)
    assert compare(Request(base=runs[0], trained=(runs[1],))).content["comparisons"][0]["verdict"]["kind"] == kind


def test_sentence_carries_the_numbers(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["-" * 256] * 64 + ["+" * 128 + "-" * 128])
    trained = write_run(tmp_path / "trained", ["+" * 200 + "-" * 56] * 34 + ["-" * 256] * 31)
    verdict = compare(Request(base=base, trained=(trained,))).content["comparisons"][0]["verdict"]
    assert "solved 34 of 64 problems that base never solved in 256 samples" in verdict["sentence"]
    assert "expected by chance: 0.0, p < 0.001" in verdict["sentence"]
    assert "lost 1 " in verdict["sentence"]
    assert [caveat for caveat in verdict["caveats"] if "--confirm" not in caveat] == []


def test_smaller_budget_takes_the_first_samples(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["--++", "+---"])
    trained = write_run(tmp_path / "trained", ["++", "-+"])
    found = _numbers(base, trained)
    assert found["budget"] == {"smallest": 2, "largest": 2}
    assert found["cells"] == {"both": 1, "base_only": 0, "trained_only": 1, "neither": 0}
    # pass@k still uses all four samples of the base
    assert found["pass_at_k"]["base"]["value"] == pytest.approx([3 / 8, (5 / 6 + 1 / 2) / 2])


def test_samples_that_tell_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["t-+-", "tttt", "nnn-", "ttt+"])
    trained = write_run(tmp_path / "trained", ["++++"] * 4)
    content = compare(Request(base=base, trained=(trained,))).content
    about = content["runs"]["base"]
    assert about["samples_left_out"] == 8
    assert about["samples_by_status"]["no_answer"] == 3
    assert about["problems_left_out"] == {"too few samples that tell": 2, "not in every run": 0}
    assert content["runs"]["trained"]["problems_left_out"]["not in every run"] == 2
    found = content["comparisons"][0]["subsets"]["all"]
    assert found["n_problems"] == 2
    assert found["budget"] == {"smallest": 3, "largest": 4}
    # no answer is not solved
    assert found["cells"]["trained_only"] == 1


def test_only_common_problems_are_compared(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["+-", "--", "++"])
    trained = write_run(tmp_path / "trained", ["++", "+-"], first=2)
    content = compare(Request(base=base, trained=(trained,))).content
    assert content["n_problems"] == 1
    assert content["runs"]["base"]["problems_left_out"]["not in every run"] == 2
    assert content["comparisons"][0]["subsets"]["all"]["cells"]["both"] == 1
    apart = write_run(tmp_path / "apart", ["++"], first=9)
    with pytest.raises(UserError, match="no problem in common"):
        compare(Request(base=base, trained=(apart,)))


def test_another_gold_answer_is_refused(tmp_path: Path) -> None:
    base, trained = write_run(tmp_path / "base", ["+-"]), write_run(tmp_path / "trained", ["+-"])
    run = RunFolder(trained)
    run.write_problems([replace(problem, answer="2") for problem in run.problems()])
    with pytest.raises(UserError, match="another gold answer in trained"):
        compare(Request(base=base, trained=(trained,)))


def test_samples_without_a_grade_are_refused(tmp_path: Path) -> None:
    base, trained = write_run(tmp_path / "base", ["+-"] * 3), write_run(tmp_path / "trained", ["+-"] * 3)
    path = RunFolder(trained).grades_path(GRADER)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:20])
    with pytest.raises(UserError, match="6 samples and 5 grades"):
        compare(Request(base=base, trained=(trained,)))
    path.write_text("".join([*lines[:-1], lines[0]]))
    with pytest.raises(UserError, match="more than one grade"):
        compare(Request(base=base, trained=(trained,)))


def test_an_unfinished_run_is_counted_in_its_samples(tmp_path: Path) -> None:
    base, trained = write_run(tmp_path / "base", ["+-"] * 3), write_run(tmp_path / "trained", ["+-"] * 3)
    run = RunFolder(trained)
    run.write_manifest(replace(run.read_manifest(), status="started", counts={}))
    content = compare(Request(base=base, trained=(trained,))).content
    assert content["runs"]["trained"]["finished"] is False
    with run.samples_path.open("ab") as file:
        file.write(run.samples_path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(UserError, match="7 samples and 6 grades"):
        compare(Request(base=base, trained=(trained,)))


def test_different_protocols_are_refused(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["+-"])
    trained = write_run(tmp_path / "trained", ["+-"], max_tokens=128, temperature=0.5)
    cooler = write_run(tmp_path / "cooler", ["+-"], temperature=0.5)
    with pytest.raises(UserError, match=r"max_tokens \(64, 128\), temperature \(1.0, 0.5\)"):
        compare(Request(base=base, trained=(trained,)))
    allowed = compare(Request(base=base, trained=(trained,), allow_different_protocol=True))
    assert allowed.content["protocol_differs_in"] == {"trained": ["max_tokens", "temperature"]}
    with pytest.raises(UserError, match="temperature"):
        compare(Request(base=base, trained=(cooler,)))
    alike = write_run(tmp_path / "alike", ["+-"])
    assert compare(Request(base=base, trained=(alike,), controls=(cooler,))).content["protocol_differs_in"] == {
        "cooler": ["temperature"]
    }
    with pytest.raises(UserError, match="max_tokens"):
        compare(Request(base=base, trained=(alike,), controls=(trained,)))


def test_files_and_command(tmp_path: Path) -> None:
    from pyarrow import parquet

    base = write_run(tmp_path / "base", ["++--", "+---", "----"], levels=[1, None, 2])
    trained = write_run(tmp_path / "trained", ["++++", "----", "+---"], levels=[1, None, 2])
    folder = tmp_path / "ledger"
    done = CliRunner().invoke(app, ["compare", str(base), str(trained), "-o", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    content = json.loads((folder / "ledger.json").read_bytes())
    assert json.loads(done.stdout) == {"ledger": str(folder), **content}
    rows = parquet.read_table(folder / "ledger.parquet").to_pylist()
    assert [(row["level"], row["base_c"], row["trained_c"], row["cell"]) for row in rows] == [
        (1, 2, 4, "both"),
        (None, 1, 0, "base_only"),
        (2, 0, 1, "trained_only"),
    ]
    before = (folder / "ledger.json").read_bytes()
    write(compare(Request(base=base, trained=(trained,))), folder)
    assert (folder / "ledger.json").read_bytes() == before
    page = (folder / "report.html").read_text()
    assert content["comparisons"][0]["verdict"]["sentence"].replace("'", "&#39;") in page
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "ledger_1_cells.svg",
        "ledger_1_curves.svg",
        "ledger_1_flows.svg",
    }
    printed = CliRunner().invoke(app, ["compare", str(base), str(trained), "-o", str(folder)])
    assert printed.stdout.splitlines()[-1] == str(folder)
    assert content["comparisons"][0]["verdict"]["sentence"] in printed.stderr


def test_a_dry_run_says_what_can_be_seen_and_drawn_and_writes_nothing(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["++--", "+---", "----", "----"])
    trained = write_run(tmp_path / "trained", ["++++", "----", "+---", "----"])
    runs = ["compare", str(base), str(trained), "-o", str(tmp_path / "ledger"), "--dry-run"]
    for more, told in (
        ([], "trained: 4 problems x 4 samples show a rise of pass@1 of"),
        (["--confirm"], f"--confirm: 1 problems seem new, 1,024 samples of {base}"),
        (["--until-decided", "--rounds", "3"], "--until-decided: at most 3 rounds, 384 samples of both"),
    ):
        done = CliRunner().invoke(app, [*runs, *more])
        assert done.exit_code == 0, done.output
        assert told in done.stdout
    assert not (tmp_path / "ledger").exists()
    other = write_run(tmp_path / "other", ["+---"] * 4, max_tokens=7)
    refused = CliRunner().invoke(app, ["compare", str(base), str(other), "--dry-run"])
    assert "max_tokens" in str(refused.exception)


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["+-"])
    trained = [write_run(tmp_path / "study" / arm / "checkpoint-60", ["++"]) for arm in ("grpo", "expo_grpo")]
    content = compare(Request(base=base, trained=tuple(trained))).content
    assert list(content["runs"]) == ["base", "grpo/checkpoint-60", "expo_grpo/checkpoint-60"]
    with pytest.raises(UserError, match="named twice"):
        compare(Request(base=base, trained=(base,)))


def test_names_are_no_markup(tmp_path: Path) -> None:
    base = write_run(tmp_path / "$\\frac{1}$ <b>bold<", ["+---", "----"])
    trained = write_run(tmp_path / "{{ 7 * 7 }} <img src=x>", ["+---", "+---"])
    done = CliRunner().invoke(app, ["compare", str(base), str(trained), "-o", str(tmp_path / "ledger")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "ledger" / "report.html").read_text()
    assert "<b>bold" not in page
    assert "<img" not in page
    assert "{{ 7 * 7 }} &lt;img src=x&gt;" in page


@pytest.mark.slow
def test_a_lower_temperature_is_sharpening(tmp_path: Path) -> None:
    """The control that must come out as sharpening: the micro base at temperature 0.5 against itself at 1."""
    shared = ["eval", "-m", "micro", "-b", "micro", "-n", "64", "--limit", "40", "--shuffle-seed", "0"]
    shared += ["--max-tokens", "64"]
    for name, temperature in (("warm", "1.0"), ("cool", "0.5")):
        done = CliRunner().invoke(app, [*shared, "--temperature", temperature, "-o", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    request = Request(base=tmp_path / "warm", trained=(tmp_path / "cool",), allow_different_protocol=True)
    section = compare(request).content["comparisons"][0]
    assert section["verdict"]["kind"] in ("sharpening", "sharpening, problems lost")
    assert section["subsets"]["all"]["null"]["p_trained_only"] > 0.05
    assert {name for name in section["subsets"] if name != "all"} == {f"level={level}" for level in range(1, 6)}
