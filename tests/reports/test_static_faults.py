"""Faults of the static pages that a walk through the product found, each with the test that would have told."""

import csv
import io
from itertools import pairwise

import pytest

from expo_bench.reports.figures.run_figures import spread, told_apart
from expo_bench.reports.tables import Cell, Row, Table, as_csv, between


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
