"""The tables of a study's page."""

from expo_bench.studies.learning_curves import Point
from expo_bench.studies.tables import equal_table


def point(arm, step, tokens, value, metric="pass@1"):
    return Point(
        arm=arm, step=step, metric=metric, level=None, value=value, ci_low=value - 0.1, ci_high=value + 0.1,
        per_seed=(value,), n_problems=4, generated_tokens=tokens,
    )  # fmt: skip


def test_arms_are_read_where_the_most_frugal_one_ends():
    frugal = [point("frugal", step, 10.0 * step, 0.1 * step) for step in (0, 1, 2, 3)]
    lavish = [point("lavish", step, 25.0 * step, 0.25 * step) for step in (0, 1, 2, 3)]
    found = equal_table([*frugal, *lavish])
    assert "within 30," in found.caption
    assert [(row.label, row.cells[0].text, row.cells[2].text, row.cells[3].text) for row in found.rows] == [
        ("frugal", "30.0", "3", "30"),
        ("lavish", "25.0", "1", "25"),
    ]
    assert equal_table([*frugal, *(point("same", step, 10.2 * step, 0.1) for step in (0, 3))]) is None
