import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from expo_bench import GRADER, UserError, frames
from expo_bench.rows import Likelihood, Rollout
from expo_bench.storage.row_files import Appender
from expo_bench.storage.training_folder import TrainingFolder
from tests.fakes import candidate
from tests.synthetic_runs import GRADER as SYNTHETIC
from tests.synthetic_runs import make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", n_problems=6, n=4)


def test_tables_hold_the_rows(run):
    assert frames.problems(run).to_dict("records")[2]["problem_id"] == list(run.problems())[2].problem_id
    assert len(frames.problems(str(run.path))) == 6
    table = frames.metrics(run.path)
    average = table[(table.name == "avg@4") & (table.subset == "all")]
    correct = [one.correct is True for one in run.grades(SYNTHETIC)]
    assert average.value.item() == pytest.approx(sum(correct) / 24)


def test_samples_have_their_grades(run):
    table = frames.samples(run, grader=SYNTHETIC)
    assert len(table) == 24
    graded = {(one.problem_id, one.sample_index): one for one in run.grades(SYNTHETIC)}
    for row in table.itertuples():
        one = graded[row.problem_id, row.sample_index]
        assert row.status == one.status
        assert pd.isna(row.correct) if one.correct is None else row.correct == one.correct
    assert None in {one.correct for one in graded.values()}
    assert table.correct.sum() == sum(one.correct is True for one in graded.values())
    assert table.correct.fillna(False).mean() == pytest.approx(table.correct.sum() / 24)
    assert str(table.answer_class.dtype) == "Int64"


def test_samples_without_a_grade_stay(run):
    table = frames.samples(run)
    assert SYNTHETIC != GRADER
    assert len(table) == 24
    assert table.status.isna().all()


def likelihood(number, name, policy, with_, without):
    return Likelihood(
        problem_id=f"toy-{number:012x}", candidate_id=name, policy=policy, n_tokens=2, sum_logprob=-3.0,
        mean_logprob=-1.5, logprob_quantiles=(-2.0, -2.0, -1.5, -1.0, -1.0), perplexity=4.5, mean_entropy=None,
        rank=None, answer_logprob_with=with_, answer_logprob_without=without, opening_logprob_with=-1.0,
        opening_logprob_without=-1.0, boundary_rule="space",
    )  # fmt: skip


def test_candidates_have_a_row_for_each_policy(run):
    with Appender(run.candidates_path) as rows:
        rows.append([candidate(0, policy="writer"), candidate(1, policy="writer")])
    assert list(frames.candidates(run).written_by) == ["writer", "writer"]
    for policy, with_ in (("base", -1.0), ("trained", -0.5)):
        with Appender(run.likelihoods_path(policy)) as rows:
            rows.append([likelihood(0, "expert-0", policy, with_, -4.0)])
    table = frames.candidates(run)
    first = table[table.problem_id == "toy-000000000000"]
    assert dict(zip(first.policy, first.lift, strict=True)) == {"base": 3.0, "trained": 3.5}
    rest = table[table.problem_id == "toy-000000000001"]
    assert (len(rest), rest.lift.isna().all()) == (1, True)


def rollout(step, **fields):
    values = {
        "step": step, "group": 0, "problem_id": "toy-0", "level": 1, "source": "own", "sample_index": 0, "text": "",
        "n_tokens": 3, "finish_reason": "stop", "sum_logprob": -1.0, "status": "graded", "reward": 1.0,
        "advantage": 0.5, "weight": None, "leaks_answer": None, **fields,
    }  # fmt: skip
    return Rollout(**values)


def test_training_folder(tmp_path):
    folder = TrainingFolder(tmp_path / "training")
    folder.begin("method: grpo\n")
    assert list(frames.rollouts(folder).columns[:3]) == ["step", "group", "problem_id"]
    assert frames.log(folder).empty
    with Appender(folder.rollouts_path) as rows:
        rows.append([rollout(0), rollout(1, reward=0.0)])
    folder.log_path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25, "kl": 0.1}\n')
    assert frames.rollouts(folder.path).groupby("step").reward.mean().to_dict() == {0: 1.0, 1: 0.0}
    assert frames.log(folder).loss.tolist() == [0.5, 0.25]


def test_the_snippets_of_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.synthetic_runs.GRADER", GRADER)
    run = make_run(tmp_path / "results" / "micro", n_problems=6, n=4)
    shutil.copytree(run.path, tmp_path / "results" / "chains")
    folder = TrainingFolder(tmp_path / "results" / "train")
    folder.begin("method: grpo\n")
    with Appender(folder.rollouts_path) as rows:
        rows.append([rollout(0), rollout(1, reward=0.0)])
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).resolve().parents[1] / "docs" / "frames.md").read_text()
    named = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        *before, last = block.strip().splitlines()
        exec("\n".join(before), named)
        named["found"] = eval(last.partition("  #")[0], named)
    assert sum(count for _, count in named["found"]) == 24
    named["both"].correct = named["both"].correct.fillna(False)
    assert named["both"].correct.sum() == sum(one.correct is True for one in run.grades(GRADER))


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        frames.samples(tmp_path)
    with pytest.raises(UserError, match="is not a training folder"):
        frames.log(tmp_path)


def test_missing_pandas_is_named(run, monkeypatch):
    # None in sys.modules is what makes an import fail
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install"):
        frames.problems(run)
