import time
from pathlib import Path

import pytest

from expo_bench.errors import UserError
from expo_bench.evaluation.graded_meanwhile import graded_meanwhile
from expo_bench.evaluation.progress import Tally
from expo_bench.grading.judge import GRADER, Judge
from expo_bench.grading.stage import grade
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests import fakes


def until(tally: Tally, judged: int) -> None:
    stop = time.monotonic() + 60
    while tally.judged < judged:
        assert time.monotonic() < stop, tally
        time.sleep(0.01)


def test_what_is_drawn_is_graded_on_the_way_and_once(tmp_path: Path) -> None:
    run, tally = RunFolder(tmp_path / "run"), Tally()
    run.write_problems([fakes.problem(1), fakes.problem(2)])
    with Judge(workers=1) as judge:
        with graded_meanwhile(run, judge, tally, seconds=0.01), Appender(run.samples_path) as samples:
            samples.append([fakes.sample(1, 0), fakes.sample(1, 1, text="\\boxed{7}")])
            until(tally, 2)
            assert tally.told() == "50.0% right"
            samples.append([fakes.sample(2, 0)])
            until(tally, 3)
        assert tally == Tally(right=2, judged=3)
        with Appender(run.samples_path) as samples:
            samples.append([fakes.sample(2, 1)])
        assert grade(run, judge=judge) == {"graded": 4}
    keys = [(row.problem_id, row.sample_index, row.correct) for row in run.grades(GRADER)]
    one, two = fakes.problem(1).problem_id, fakes.problem(2).problem_id
    assert keys == [(one, 0, True), (one, 1, False), (two, 0, True), (two, 1, True)]


def test_an_end_that_is_no_success_ends_it_too(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_problems([fakes.problem(1)])
    begun = time.monotonic()
    with Judge(workers=1) as judge, pytest.raises(KeyboardInterrupt), graded_meanwhile(run, judge, Tally()):
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 5  # it waits for no pass


def test_damage_is_left_to_the_stage_that_tells_it(tmp_path: Path) -> None:
    run, tally = RunFolder(tmp_path / "run"), Tally()
    run.write_problems([fakes.problem(1)])
    run.samples_path.write_text("{}\n")
    with Judge(workers=1) as judge:
        with graded_meanwhile(run, judge, tally, seconds=0.01):
            time.sleep(0.2)
        assert tally == Tally()
        with pytest.raises(UserError, match="not a Sample row"):
            grade(run, judge=judge)
