"""The sharpening ledger from run folders to the verdict."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench.cli import app
from expo_bench.compare import Request, compare, write
from expo_bench.errors import UserError
from expo_bench.rows import Candidate, Grade, Likelihood, Manifest, Problem, Sample
from expo_bench.store import Appender, RunFolder

GRADER = "math-verify-0.9"
PROTOCOL = {"prompt": "boxed", "max_tokens": 64, "temperature": 1.0, "grader": GRADER}


def write_run(
    path: Path,
    outcomes: Sequence[str],
    *,
    levels: Sequence[int | None] | None = None,
    first: int = 0,
    logprobs: Sequence[float] | None = None,
    **protocol: object,
) -> Path:
    """Write a run: a string a problem, a letter a sample: + right, - wrong, n no answer, t time-out."""
    run = RunFolder(path)
    shared = {**PROTOCOL, **protocol}
    ids = [f"mine-{first + index:012d}" for index in range(len(outcomes))]
    run.write_manifest(
        Manifest(
            schema_version=1,
            status="finished",
            started="2026-03-02T09:12:44+00:00",
            finished="2026-03-02T09:58:01+00:00",
            protocol_hash=str(sorted(shared.items())),
            protocol=shared,
            model={"name": path.name},
            benchmarks={},
            seed=0,
            environment={},
            counts={"problems": len(outcomes), "samples": sum(map(len, outcomes))},
        )
    )
    run.write_problems(
        Problem(
            problem_id=problem_id,
            benchmark="mine",
            split="test",
            question=problem_id,
            answer="1",
            level=None if levels is None else levels[index],
        )
        for index, problem_id in enumerate(ids)
    )
    status = {"+": "graded", "-": "graded", "n": "no_answer", "t": "timeout"}
    with Appender(run.samples_path) as samples, Appender(run.grades_path(GRADER)) as grades:
        for problem_id, letters in zip(ids, outcomes, strict=True):
            for index, letter in enumerate(letters):
                samples.append(
                    [
                        Sample(
                            problem_id=problem_id,
                            sample_index=index,
                            prompt_kind="solve",
                            text="",
                            token_ids=None,
                            n_tokens=1,
                            finish_reason="stop",
                            seed=index,
                            sum_logprob=None if logprobs is None else logprobs[index],
                        )
                    ]
                )
                grades.append(
                    [
                        Grade(
                            problem_id=problem_id,
                            sample_index=index,
                            grader=GRADER,
                            status=status[letter],  # type: ignore[arg-type]
                            correct={"+": True, "-": False}.get(letter),
                            extracted=None,
                            answer_class=None,
                            seconds=0.0,
                        )
                    ]
                )
    return path


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
    assert found["crossover"]["k"] == 3
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


def test_published_aime_cells_come_out_as_sharpening(tmp_path: Path) -> None:
    # Yue et al., arXiv 2504.13837, AIME 2024: 19 / 4 / 0 / 7 problems of 30. The counts are theirs; which problems, and
    # how often each is solved, is made up here.
    base = write_run(tmp_path / "base", ["+" * 3 + "-" * 13] * 23 + ["-" * 16] * 7)
    trained = write_run(tmp_path / "trained", ["+" * 12 + "-" * 4] * 19 + ["-" * 16] * 11)
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
    assert verdict["caveats"] == []


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


def test_a_trained_model_is_held_against_the_control(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["-" * 8] * 10 + ["+---" * 2] * 10)
    trained = write_run(tmp_path / "trained", ["+-+-" * 2] * 10 + ["+++-" * 2] * 10)
    control = write_run(tmp_path / "control", ["-" * 8] * 10 + ["+++-" * 2] * 10, temperature=0.5)
    sections = compare(Request(base=base, trained=(trained,), controls=(control,))).content["comparisons"]
    assert [section["role"] for section in sections] == ["trained", "control", "trained against control"]
    assert sections[1]["verdict"]["kind"] == "sharpening"
    assert sections[2]["verdict"]["new_problems"] is True
    weak = write_run(tmp_path / "weak", ["-" * 8] * 10 + ["+++-" * 2] * 10)
    sections = compare(Request(base=base, trained=(weak,), controls=(control,))).content["comparisons"]
    assert "does not beat both base and control" in sections[2]["verdict"]["sentence"]


def test_the_base_does_not_beat_a_control_that_lost_problems(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["+---" * 2] * 20)
    again = write_run(tmp_path / "again", ["--+-" * 2] * 20)
    control = write_run(tmp_path / "control", ["-" * 8] * 10 + ["++--" * 2] * 10, temperature=0.5)
    section = compare(Request(base=base, trained=(again,), controls=(control,))).content["comparisons"][2]
    assert section["subsets"]["all"]["null"]["p_trained_only"] < 0.05
    assert section["verdict"]["new_problems"] is False


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
        file.append(_candidate(f"own-{index}", "own_correct", "trained") for index in range(3))
        file.append([_candidate("own-9", "own_incorrect", "base"), _candidate("expert-0", "expert", None)])
    with Appender(chains.likelihoods_path("base")) as file:
        file.append(_likelihood(f"own-{index}", float(2 + index)) for index in range(3))
        file.append([_likelihood("expert-0", 50.0)])
    found = compare(Request(base=base, trained=(trained,), likelihoods=(chains.path,)))
    cells = found.content["comparisons"][0]["perplexity"]
    assert cells["base of trained"] == {"median": 3.0, "quartiles": [2.5, 3.5], "n": 3, "reason": None}
    assert cells["base of expert"]["median"] == 50
    assert cells["base of base"]["median"] is None
    assert "own samples of trained scored under trained" in cells["trained of trained"]["reason"]


def _candidate(name: str, source: str, policy: str | None) -> Candidate:
    return Candidate(
        problem_id="mine-000000000000",
        candidate_id=name,
        source=source,  # type: ignore[arg-type]
        text="",
        token_ids=None,
        finish_reason=None,
        reaches_answer=None,
        leaks_answer=None,
        repetitive=False,
        truncated=False,
        policy=policy,
    )


def _likelihood(name: str, perplexity: float) -> Likelihood:
    return Likelihood(
        problem_id="mine-000000000000",
        candidate_id=name,
        policy="base",
        n_tokens=1,
        sum_logprob=-1.0,
        mean_logprob=-1.0,
        logprob_quantiles=(-1.0,) * 5,
        perplexity=perplexity,
        mean_entropy=None,
        rank=None,
        answer_logprob_with=-1.0,
        answer_logprob_without=-1.0,
        opening_logprob_with=-1.0,
        opening_logprob_without=-1.0,
        boundary_rule="",
    )


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
