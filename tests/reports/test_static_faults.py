"""Faults of the static pages that a walk through the product found, each with the test that would have told."""

import csv
import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from expo_bench import reporting
from expo_bench.reports.figures.heat import _choose
from expo_bench.reports.figures.ledger_figures import draw_ledger
from expo_bench.reports.figures.run_figures import spread, told_apart
from expo_bench.reports.likelihood_views import ScoredCandidate, number
from expo_bench.reports.tables import Cell, Row, Table, as_csv, between
from expo_bench.reports.training_page import training_page
from expo_bench.rows import Source
from expo_bench.studies.learning_curves import Point
from expo_bench.studies.tables import end_table, level_tables
from tests import fakes
from tests.synthetic_runs import GRADER, make_run


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([10, 50, 90], [10, 50, 90]),
        # four runs near the top: the best keeps its label, the others make room below
        ([84.5, 87.2, 90.0, 91.2], [82, 88, 94, 100]),
        ([0, 0, 0], [0, 6, 12]),
        ([99, 100], [94, 100]),
        ([], []),
    ],
)
def test_no_label_leaves_the_axis(values: list[float], wanted: list[float]) -> None:
    found = spread(values, 6, 100)
    assert all(place <= 100 for place in found)
    assert all(after - before >= 6 - 1e-9 for before, after in pairwise(found))
    assert found == pytest.approx(wanted)


def test_labels_lose_what_all_begin_with() -> None:
    assert told_apart(["Qwen2.5-Math-1.5B", "Qwen2.5-Math-7B"]) == ["1.5B", "7B"]
    assert told_apart(["a", "b"]) == ["a", "b"]
    assert told_apart(["same", "same"]) == ["same", "same"]
    assert told_apart(["only"]) == ["only"]


def test_one_notation_for_intervals() -> None:
    assert between("1.2", "3.4") == "1.2–3.4"
    assert between("-1", "3") == "-1 to 3"
    assert between("\N{MINUS SIGN}1", "\N{MINUS SIGN}0.5") == "\N{MINUS SIGN}1 to \N{MINUS SIGN}0.5"


def test_a_table_as_csv_says_the_same() -> None:
    rows = [
        Row(
            label='=HYPERLINK("x")',
            cells=[Cell(text="12.5", interval="10.0–15.0", these="12.0–13.0"), Cell(text="1,000")],
        ),
        Row(label='a "quoted", name', cells=[Cell(text="–"), Cell(text="2")]),
    ]
    table = Table(caption="", head=["Run", "avg@n", "problems"], rows=rows)
    assert list(csv.reader(io.StringIO(as_csv(table)))) == [
        ["Run", "avg@n", "avg@n, 95% interval", "avg@n, 95% interval, these problems", "problems"],
        ['\'=HYPERLINK("x")', "12.5", "10.0–15.0", "12.0–13.0", "1,000"],
        ['a "quoted", name', "–", "", "", "2"],
    ]


def test_the_figure_of_the_readme_is_in_the_house_style() -> None:
    """It is made by `python -m analysis.learning_curves results/published/micro-study --figure methods=...`."""
    root = Path(__file__).parents[2]
    drawn = (root / "docs/images/micro-level5-methods.svg").read_text()
    assert drawn == (root / "results/published/micro-study/figures/methods.svg").read_text()
    assert "prefers-color-scheme:dark" in drawn
    for place, arm in enumerate(("grpo", "expo_grpo", "grpo_expert", "expo_dpo", "expo_dpo-online", "star")):
        assert f">{arm}</text>" in drawn
        assert f"fill: var(--series-{place})" in drawn


def test_the_trained_arm_of_a_ledger_has_its_own_colour_and_the_base_none() -> None:
    curve = {"k": [1, 2], **{side: {"value": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.3]}
                             for side in ("base", "trained", "difference")}}  # fmt: skip
    numbers = {
        "cells": {"both": 1, "base_only": 0, "trained_only": 1, "neither": 0}, "null": {"expected": 0.5},
        "n_problems": 2, "budget": {"smallest": 2}, "pass_at_k": curve,
        "accuracy_flows": [[int(row == column == 10) for column in range(11)] for row in range(11)],
    }  # fmt: skip
    section = {"base": "base", "trained": "star", "subsets": {"all": numbers}}
    curves, _, flows = draw_ledger(section, "p", series=3)
    assert set(re.findall(r"series-\d", curves.wide)) == {"series-3"}
    # the fields take the whole width
    assert max(float(x) for x in re.findall(r"L ([\d.]+) ", flows.wide)) > 940


def test_minus_zero_is_zero() -> None:
    assert number(-0.0) == "0.000"
    assert number(-0.0004) == "\N{MINUS SIGN}4e\N{MINUS SIGN}4"


def point(arm: str, step: int, metric: str, *per_seed: float, level: int | None = None) -> Point:
    mean = sum(per_seed) / len(per_seed)
    return Point(
        arm=arm, step=step, metric=metric, level=level, value=mean, ci_low=mean, ci_high=mean, per_seed=per_seed,
        n_problems=4, generated_tokens=10.0 * step,
    )  # fmt: skip


def test_a_column_of_seeds_only_where_there_are_several() -> None:
    metrics = ("pass@1", "pass@4", "pass@8")
    one = [point("grpo", step, metric, 0.5) for step in (0, 2) for metric in metrics]
    two = [point("grpo", step, metric, 0.25, 0.75) for step in (0, 2) for metric in metrics]
    assert end_table(one).head == ["Arm", "pass@1", "pass@4", "pass@8", "all wrong", "entropy", "tokens"]
    assert end_table(two).rows[0].cells[1].text == "25.0, 75.0"
    by_level = [
        point("grpo", step, metric, 0.5, level=level) for step in (0, 2) for metric in metrics for level in (1, 2)
    ]
    assert [table.caption.split()[0] for table in level_tables(by_level)] == list(metrics)


def test_runs_side_by_side_have_a_table_of_all_and_the_way_to_a_comparison(tmp_path: Path) -> None:
    names = ("math500", "aime24")
    runs = [make_run(tmp_path / f"run {n}", model=f"org/{n}", benchmarks=names, n_problems=4, n=2) for n in (1, 2)]
    page = reporting.report(runs, tmp_path / "both.html", grader=GRADER).read_text()
    assert "All problems: percent" in page
    assert f"expo-bench compare &#39;{runs[0].path}&#39; &#39;{runs[1].path}&#39;" in page


def test_the_pages_of_a_study_lead_to_each_other(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("seeds: [0]\n")
    training = tmp_path / "grpo" / "seed-0"
    run = make_run(training / "evaluations" / "checkpoint-0", n_problems=3, n=2)
    page = reporting.report([run], run.report_path, grader=GRADER)
    assert 'href="../../../../report.html"' in page.read_text()
    (training / "recipe.yaml").write_text("method: grpo\n")
    told = training_page(training, training / "report.html").read_text()
    assert 'href="../../report.html"' in told
    assert 'href="evaluations/checkpoint-0/report.html"' in told
    # a copy elsewhere leads nowhere
    assert "report.html" not in reporting.report([run], tmp_path / "copy.html", grader=GRADER).read_text()


def test_chains_side_by_side_repeat_each_other_only_where_there_is_no_other() -> None:
    def scored(problem: str, source: Source, name: str, text: str) -> ScoredCandidate:
        candidate = fakes.candidate(problem_id=problem, name=name, source=source, text=text)
        likelihood: Any = None  # nothing of it decides
        return ScoredCandidate(problem=fakes.problem(problem_id=problem), candidate=candidate, likelihood=likelihood)

    same = [scored("a", "own_incorrect", "own-0", "x"), scored("a", "self_explanation", "self_explanation-0", "x ")]
    assert [one.candidate.candidate_id for one in _choose(same)] == ["self_explanation-0", "own-0"]
    another = [*same, scored("a", "own_incorrect", "own-1", "y")]
    assert [one.candidate.candidate_id for one in _choose(another)] == ["self_explanation-0", "own-1"]
    # a problem whose chains differ comes before one whose chains are alike
    better = [scored("b", "own_incorrect", "own-0", "u"), scored("b", "self_explanation", "self_explanation-0", "v")]
    assert {one.problem.problem_id for one in _choose([*same, *better])} == {"b"}
