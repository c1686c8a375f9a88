"""Candidates: what becomes one, under which name, and what is said of the others."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from expo_bench.engines.base import SamplingParams
from expo_bench.errors import UserError
from expo_bench.evaluation.sampling import Sampling
from expo_bench.likelihood.candidates import OwnSamples, candidates, filters
from expo_bench.likelihood.explanations import Explaining
from expo_bench.prompts import SELF_EXPLAIN
from expo_bench.rows import Candidate, Problem
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests import fakes

SOLVED, FAILED = fakes.problem(0, solution="0 + 1 = \\boxed{1}"), fakes.problem(1)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two problems: the first is solved by one of two samples, the second by none of three."""
    folder = RunFolder(tmp_path / "run")
    texts = {
        (0, 0): ("\\boxed{1}", {}),
        (0, 1): ("\\boxed{3}", {"correct": False}),
        (1, 0): ("I do not know", {"status": "no_answer", "correct": None}),
        (1, 1): ("\\boxed{3}", {"correct": False}),
        (1, 2): ("", {"status": "error", "correct": None}),
    }
    with Appender(folder.samples_path) as samples:
        samples.append(fakes.sample(*key, text=text) for key, (text, _) in texts.items())
    with Appender(folder.grades_path("fake")) as grades:
        grades.append(fakes.grade(*key, **fields) for key, (_, fields) in texts.items())
    with Appender(folder.explanations_path) as explanations:
        explanations.append(
            fakes.sample(number, index, prompt_kind="self_explain", text=text)
            for number, index, text in [(0, 0, "\\boxed{1}"), (1, 0, "\\boxed{2}"), (1, 1, "\\boxed{9}")]
        )
    return folder


def made(run: RunFolder, sources: list[str], **settings: Any) -> tuple[dict[tuple[str, str], Candidate], Counter[str]]:
    own = OwnSamples(run=run, grader="fake", n=8, policy="fake")
    left_out = candidates(run, [SOLVED, FAILED], sources=sources, policy="fake", own=own, **settings)
    return {(row.problem_id, row.candidate_id): row for row in run.candidates()}, left_out


def of(rows: dict[tuple[str, str], Candidate], problem: Problem) -> dict[str, str]:
    return {name: row.source for (problem_id, name), row in rows.items() if problem_id == problem.problem_id}


def test_sources_and_names(run: RunFolder) -> None:
    rows, left_out = made(run, ["expert", "self_explanation", "own", "rationalised"])
    assert of(rows, SOLVED) == {
        "expert-0": "expert",
        "self_explanation-0": "self_explanation",
        "own-0": "own_correct",
        "own-1": "own_incorrect",
    }
    assert of(rows, FAILED) == {
        "self_explanation-0": "self_explanation",
        "self_explanation-1": "self_explanation",
        "rationalised-0": "rationalised",
        "own-0": "own_incorrect",
        "own-1": "own_incorrect",
    }
    assert left_out == {
        "expert: the benchmark has no solution": 1,
        "own: error": 1,
        "rationalised: a plain sample is correct": 1,
        "rationalised: does not reach the answer": 1,
    }


def test_filters_are_told_for_each_source(run: RunFolder) -> None:
    rows, _ = made(run, ["expert", "self_explanation", "own"])
    reaches = {key[1]: row.reaches_answer for key, row in rows.items() if key[0] == FAILED.problem_id}
    assert reaches == {"self_explanation-0": True, "self_explanation-1": False, "own-0": False, "own-1": False}
    counts = filters(rows.values())
    assert list(counts) == ["expert", "self_explanation", "own_correct", "own_incorrect"]
    assert counts["self_explanation"] == {
        "candidates": 3, "reaches_answer": 2, "leaks_answer": 0, "repetitive": 0, "truncated": 0,
    }  # fmt: skip


def test_ids_and_policy_come_along(run: RunFolder) -> None:
    rows, _ = made(run, ["expert", "own"])
    own, expert = rows[SOLVED.problem_id, "own-0"], rows[SOLVED.problem_id, "expert-0"]
    assert (own.token_ids, own.policy, own.finish_reason) == ((1, 2, 3), "fake", "stop")
    assert (expert.token_ids, expert.policy, expert.finish_reason) == (None, None, None)


def test_again_writes_nothing_and_another_source_is_added(run: RunFolder) -> None:
    made(run, ["expert"])
    before = run.candidates_path.read_bytes()
    made(run, ["expert"])
    assert run.candidates_path.read_bytes() == before
    rows, _ = made(run, ["expert", "own"])
    assert run.candidates_path.read_bytes().startswith(before)
    assert len(rows) == len(list(run.candidates())) == 5


def test_ungraded_samples_are_refused(run: RunFolder) -> None:
    run.grades_path("fake").unlink()
    with pytest.raises(UserError, match="5 samples have no grade"):
        made(run, ["own"])


def test_imported_chains_find_their_problem_by_id_or_question(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "teacher.jsonl"
    lines = [
        {"problem_id": SOLVED.problem_id, "text": "\\boxed{1}", "policy": "teacher"},
        {"question": SOLVED.question, "text": "The hint says \\boxed{5}", "other": 1},
        {"question": "Another?", "text": "?"},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    rows, left_out = made(run, ["imported"], imported=file)
    first, second = (rows[SOLVED.problem_id, f"imported-{index}"] for index in range(2))
    assert (first.policy, first.reaches_answer, first.leaks_answer) == ("teacher", True, False)
    assert (second.policy, second.reaches_answer, second.leaks_answer) == (None, False, True)
    assert left_out == {"imported: not a problem of this run": 1}


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"text": "a"}', '{"question": "a"}', '{"question": "a", "text": " "}', '{"question": 1, "text": "a"}'],
)
def test_a_bad_imported_line_is_named(run: RunFolder, tmp_path: Path, line: str) -> None:
    file = tmp_path / "teacher.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(UserError, match=r"teacher\.jsonl:2: "):
        made(run, ["imported"], imported=file)


def test_explanations_have_seeds_of_their_own_and_go_on(tmp_path: Path) -> None:
    params = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=8)
    problems = [fakes.problem(number) for number in range(3)] + [fakes.problem(9, answer="")]
    stage = Explaining(prompt=SELF_EXPLAIN, params=params, n=2, seed=5)
    folders = [RunFolder(tmp_path / name) for name in ("whole", "stopped")]

    def draw(run: RunFolder, engine: fakes.SeededGenerator) -> None:
        stage.draw(run, stage.missing(run, problems), engine)

    draw(folders[0], fakes.SeededGenerator())
    with pytest.raises(KeyboardInterrupt):
        draw(folders[1], fakes.SeededGenerator(fail_after=3))
    engine = fakes.SeededGenerator()
    draw(folders[1], engine)
    assert sum(len(request.seeds) for request in engine.calls[0]) == 3
    whole, resumed = (sorted(run.explanations(), key=lambda row: (row.problem_id, row.sample_index)) for run in folders)
    assert whole == resumed
    assert len(whole) == 6
    assert {row.prompt_kind for row in whole} == {"self_explain"}
    answering = Sampling(prompt=SELF_EXPLAIN, params=params, n=2, seed=5)
    plain = {answering.seed_of(row.problem_id, row.sample_index) for row in whole}
    assert plain.isdisjoint({row.seed for row in whole})
    assert whole[0].seed == stage.seed_of(whole[0].problem_id, 0)
    answers = {problem.problem_id: problem.answer for problem in problems}
    for request in engine.calls[0]:
        assert f"final answer is {answers[request.problem_id]}." in request.messages[0]["content"]
