"""Sampled lift, from answers that a fake policy draws in the slot."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.grading.judge import Judge
from expo_bench.likelihood.sampled_answers import closed, missing_answers, sample_answers, sampled_rates
from expo_bench.likelihood.scoring import likelihoods
from expo_bench.likelihood.two_property import compute
from expo_bench.prompts import BOXED
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests import fakes

POLICY = "p"


class AnsweringEngine(fakes.SeededGenerator):
    """Answers rightly, in turn in two ways, behind a chain that speaks of the sum; else wrongly, or it never closes."""

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        self.calls.append(tuple(requests))
        for request in reversed(requests):
            for index in request.sample_indexes:
                wrong = ("7}", "1 and so on")[index % 2]
                text = ("1} as said", "\\frac{2}{2}}$")[index % 2] if "sum" in request.prefix else wrong
                yield Completion(
                    problem_id=request.problem_id,
                    sample_index=index,
                    text=text,
                    token_ids=None,
                    n_tokens=1,
                    finish_reason="stop",
                    sum_logprob=None,
                )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.write_problems([fakes.problem()])
    texts = {"expert-0": "The sum is $\\boxed{1}$", "own-0": "No idea: \\boxed{3}", "own-1": "None"}
    with Appender(folder.candidates_path) as rows:
        rows.append([fakes.candidate(name=name, text=text) for name, text in texts.items()])
    likelihoods(folder, fakes.PositionScorer(), policy=POLICY, prompt=BOXED)
    return folder


def answer(run: RunFolder, n: int = 4) -> AnsweringEngine:
    engine = AnsweringEngine()
    with Judge() as judge:
        sample_answers(run, engine, policy=POLICY, prompt=BOXED, n=n, seed=0, judge=judge)
    return engine


def test_equivalent_answers_count_and_open_ones_do_not(run: RunFolder) -> None:
    engine = answer(run)
    prefixes = {request.prefix for call in engine.calls for request in call}
    assert prefixes == {
        "\\boxed{", "$\\boxed{", "The sum is $\\boxed{", "No idea: \\boxed{", "None\n\n\\boxed{",
    }  # fmt: skip
    counts = {(row.candidate_id, row.before): (row.n, row.n_correct, row.n_open) for row in run.slot_answers(POLICY)}
    assert counts == {
        (None, ""): (4, 0, 2), (None, "$"): (4, 0, 2), ("expert-0", ""): (4, 4, 0), ("own-0", ""): (4, 0, 2),
        ("own-1", ""): (4, 0, 2),
    }  # fmt: skip
    assert sampled_rates(run, POLICY)[fakes.problem().problem_id, "expert-0"] == (1, 0)
    found = {(row.source, row.name): row.value for row in compute(run, draws=50) if row.subset == "all"}
    assert found["expert", "sampled_lift"] == 1
    assert found["own_incorrect", "sampled_lift"] == 0
    assert found["expert", "lift_disagreement"] == pytest.approx(1 - (found["expert", "slot_lift"] or 0))


def test_nothing_is_drawn_twice(run: RunFolder) -> None:
    answer(run)
    assert missing_answers(run, POLICY, 4) == []
    assert answer(run).calls == []
    assert len(missing_answers(run, POLICY, 5)) == 5


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("18}\\).", "18"),
        ("\\frac{1}{2}} or", "\\frac{1}{2}"),
        ("\\{1, 2\\}} ", "\\{1, 2\\}"),
        ("18", None),
        ("{18}", None),
        ("}", ""),
        ("1\\\\} x", "1\\\\"),
    ],
)
def test_where_the_slot_closes(text: str, inside: str | None) -> None:
    assert closed(text) == inside
