"""The tables of a study's page."""

from expo_bench.studies.learning_curves import Point
from expo_bench.studies.report import study_figures
from expo_bench.studies.tables import end_table, equal_table, verdicts


def point(arm, step, tokens, value, metric="pass@1", problems=""):
    return Point(
        arm=arm, step=step, metric=metric, level=None, value=value, ci_low=value - 0.1, ci_high=value + 0.1,
        per_seed=(value,), n_problems=4, generated_tokens=tokens, problems=problems,
    )  # fmt: skip


def read(table):
    return [(row.label, *(cell.text for cell in row.cells)) for row in table.rows]


def test_arms_are_read_where_the_first_one_ends():
    first = [point("first", step, 10.0 * step, 0.1 * step) for step in (0, 1, 2, 3)]
    lavish = [point("lavish", step, 25.0 * step, 0.25 * step) for step in (0, 1, 2, 3)]
    frugal = [point("frugal", step, 5.0 * step, 0.05 * step) for step in (0, 1, 2, 3)]
    found = equal_table([*first, *lavish, *frugal])
    assert "generated 30, which is what first has" in found.caption
    # at 30 tokens lavish is a fifth of the way from 25% to 50%, frugal at its end
    assert read(found) == [
        ("first", "30.0", "–", "30.0", "–", "3", "30"),
        ("lavish", "30.0", "–", "25.0", "–", "1", "25"),
        ("frugal", "15.0", "–", "15.0", "–", "3", "15"),
    ]
    assert equal_table([*first, *(point("same", step, 10.2 * step, 0.1) for step in (0, 3))]) is None


def test_arms_are_compared_on_their_own_problems():
    points = [
        point(f"{arm}.{level}", step, tokens * step, value * step, problems=f"micro, level {level}")
        for level in (3, 4)
        for arm, tokens, value in (("a", 10, 0.1), ("b", 20, 0.2))
        for step in (0, 1, 2)
    ]
    # trained, and never evaluated
    points.append(point("c", 2, 20, 0.5, metric="groups all wrong"))
    ends = [line[:2] for line in read(end_table(points, {"a.3": "sharpened"}))]
    assert ends == [
        ("micro, level 3",), ("b.3", "40.0"), ("a.3", "20.0"), ("micro, level 4",), ("b.4", "40.0"), ("a.4", "20.0"),
    ]  # fmt: skip
    assert [line[-1] for line in read(end_table(points, {"a.3": "sharpened"}))[:3]] == [
        "micro, level 3",
        "–",
        "sharpened",
    ]
    assert [line[0] for line in read(equal_table(points))] == [line[0] for line in (ends[0], ends[2], ends[1])] + [
        line[0] for line in (ends[3], ends[5], ends[4])
    ]
    figures = study_figures(points)
    assert [drawing.name for drawing in figures] == ["learning_curves_1", "learning_curves_2"]
    assert "thousands of generated tokens" in figures[0].wide and "optimizer steps" not in figures[0].wide


def test_an_arm_with_one_seed_has_no_verdict():
    methods = [{"arm": "a", "verdict": "new problems"}, {"arm": "b", "verdict": None}]
    assert verdicts({"methods": methods}) == {"a": "new problems"}
    assert "verdict" not in end_table([point("b", 0, 0, 0.5)], verdicts({"methods": methods[1:]})).head
