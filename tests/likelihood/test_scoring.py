"""Likelihoods of candidates, checked against numbers computed by hand with a scorer whose numbers are known."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from expo_bench.engines.base import Scored, ScoreRequest
from expo_bench.errors import UserError
from expo_bench.likelihood import scoring
from expo_bench.likelihood.scoring import CHUNK_TOKENS, CUT_OFF, ENDED, SAMPLED, likelihoods, missing_likelihoods
from expo_bench.prompts import BOXED
from expo_bench.rows import Candidate, Likelihood
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.token_arrays import read_parts
from tests import fakes

POLICY = "models/fake one"


def run_with(path: Path, candidates: Sequence[Candidate], n_problems: int = 1) -> RunFolder:
    run = RunFolder(path)
    run.write_problems([fakes.problem(number) for number in range(n_problems)])
    with Appender(run.candidates_path) as rows:
        rows.append(candidates)
    return run


def scored(
    run: RunFolder, engine: fakes.PositionScorer, chunk_tokens: int = CHUNK_TOKENS
) -> dict[tuple[str, str], Likelihood]:
    likelihoods(run, engine, policy=POLICY, prompt=BOXED, chunk_tokens=chunk_tokens)
    return {(row.problem_id, row.candidate_id): row for row in run.likelihoods(POLICY)}


def test_numbers_of_a_chain_of_three_tokens(tmp_path: Path) -> None:
    run = run_with(tmp_path, [fakes.candidate(text="ab")])
    (row,) = scored(run, fakes.PositionScorer()).values()
    assert row.n_tokens == 3
    assert row.sum_logprob == pytest.approx(-0.6)
    assert row.mean_logprob == pytest.approx(-0.2)
    assert row.logprob_quantiles == pytest.approx((-0.29, -0.25, -0.2, -0.15, -0.11))
    assert row.perplexity == pytest.approx(math.exp(0.2))
    assert row.mean_entropy == pytest.approx(2)
    assert row.rank is None
    # the slot is \boxed{1}: seven tokens open it, "1" and "}" are the answer
    assert row.opening_logprob_without == pytest.approx(-2.8)
    assert row.answer_logprob_without == pytest.approx(-1.7)
    # after "ab" and an empty line all stand four places later
    assert row.opening_logprob_with == pytest.approx(-5.6)
    assert row.answer_logprob_with == pytest.approx(-2.5)
    assert (row.answer_place, row.answer_slack) == ("end", 0)
    assert row.boundary_rule == ENDED


@pytest.mark.parametrize(
    ("text", "within", "alone", "place"),
    [
        ("x = 1, so \\boxed{7}", "x = 1, so ", "", "box"),
        ("x is \\( \\boxed{7} \\)", "x is \\( ", "\\( ", "box"),
        ("The answer is $7$.", "The answer is $", "$", "text"),
        ("\\(2\\) and \\[x = \\boxed{7}\\]", "\\(2\\) and \\[x = ", "\\[", "box"),
        ("\\(2\\): \\boxed{7}", "\\(2\\): ", "", "box"),
        ("so x ", "so x\n\n", "", "end"),
        ("  ", "", "", "end"),
    ],
)
def test_the_slot_is_written_as_the_chain_writes_its_answer(
    tmp_path: Path, text: str, within: str, alone: str, place: str
) -> None:
    run = run_with(tmp_path, [fakes.candidate(text=text)])
    engine = fakes.PositionScorer()
    (row,) = scored(run, engine).values()
    (request,) = engine.requests
    by_key = {one.key: "".join(map(chr, one.token_ids)) for one in request.continuations}
    assert by_key == {
        "expert-0": text + "\0", f"slot:{alone}": alone + "\\boxed{1}", "slot/expert-0": within + "\\boxed{1}",
    }  # fmt: skip
    assert row.answer_place == place
    assert request.messages == BOXED.messages(fakes.problem())


def test_a_chain_that_was_cut_off_has_an_answer_in_a_closed_box_or_none(tmp_path: Path) -> None:
    cut = {"finish_reason": "length", "truncated": True}
    texts = {"own-0": "The answer is 1", "own-1": "\\boxed{1} or \\boxed{", "own-2": "\\boxed{1"}
    found = scored(
        run_with(tmp_path, [fakes.candidate(name=n, text=t, **cut) for n, t in texts.items()]), fakes.PositionScorer()
    )
    assert {name: row.answer_place for (_, name), row in found.items()} == {
        "own-0": "end", "own-1": "box", "own-2": "end",
    }  # fmt: skip


def test_rows_of_an_earlier_version_are_not_gone_on_with(tmp_path: Path) -> None:
    run = run_with(tmp_path, [fakes.candidate(), fakes.candidate(name="expert-1")])
    (row, _) = scored(run, fakes.PositionScorer()).values()
    run.likelihoods_path(POLICY).unlink()
    with Appender(run.likelihoods_path(POLICY)) as rows:
        rows.append([replace(row, answer_place=None, answer_slack=None)])
    with pytest.raises(UserError, match="earlier version"):
        scored(run, fakes.PositionScorer())


def test_sampled_ids_are_scored_as_they_are_and_other_texts_tokenised(tmp_path: Path) -> None:
    odd = (97, 98, 99)
    cut_off = {"finish_reason": "length", "truncated": True}
    rows = [
        fakes.candidate(name="own-0", token_ids=odd, policy=POLICY, finish_reason="stop"),
        fakes.candidate(name="own-1", token_ids=odd, policy="another", finish_reason="stop", text="ab"),
        fakes.candidate(name="own-2", token_ids=None, policy="another", text="ab", **cut_off),
    ]
    found = scored(run_with(tmp_path, rows), fakes.PositionScorer())
    arrays = {row.candidate_id: row for row in read_parts(RunFolder(tmp_path).likelihoods_folder(POLICY))}
    rules = {name: row.boundary_rule for (_, name), row in found.items()}
    assert rules == {"own-0": SAMPLED, "own-1": ENDED, "own-2": CUT_OFF}
    assert {name: row.token_ids for name, row in arrays.items()} == {
        "own-0": odd, "own-1": (97, 98, 0), "own-2": (97, 98),
    }  # fmt: skip


def test_ids_of_a_policy_with_the_same_tokenizer_are_scored_as_they_are(tmp_path: Path) -> None:
    text = "a chain of many tokens"
    ids = fakes.PositionScorer().tokenize(text)
    odd = (97, 98, 99)
    rows = [
        fakes.candidate(name="own-0", token_ids=ids, text=text, policy="checkpoint", finish_reason="stop"),
        fakes.candidate(name="own-1", token_ids=odd, policy="checkpoint", finish_reason="stop"),
    ]
    found = scored(run_with(tmp_path, rows), fakes.PositionScorer())
    assert {row.boundary_rule for row in found.values()} == {SAMPLED}


def test_rank_among_the_problems_own_samples(tmp_path: Path) -> None:
    # the mean falls with the length; own-0 is the likeliest
    names = {"own-0": "a", "own-1": "abcd", "expert-0": "ab", "self_explanation-0": "abcdefgh"}
    found = scored(
        run_with(tmp_path, [fakes.candidate(name=n, text=t) for n, t in names.items()]), fakes.PositionScorer()
    )
    ranks = {name: row.rank for (_, name), row in found.items()}
    assert ranks == {"own-0": 1, "own-1": 2, "expert-0": 2, "self_explanation-0": 3}


def test_rows_and_arrays_agree(tmp_path: Path) -> None:
    run = run_with(tmp_path, [fakes.candidate(number, text="ab" * number) for number in range(4)], 4)
    found = scored(run, fakes.PositionScorer())
    arrays = {(row.problem_id, row.candidate_id): row for row in read_parts(run.likelihoods_folder(POLICY))}
    assert arrays.keys() == found.keys()
    for key, row in found.items():
        assert len(arrays[key].logprobs) == len(arrays[key].entropies) == len(arrays[key].token_ids) == row.n_tokens
        assert arrays[key].logprobs.dtype == np.float32
        assert abs(arrays[key].logprobs.sum() - row.sum_logprob) < 1e-3 * row.n_tokens


def test_a_stopped_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    rows = [fakes.candidate(number, name) for number in range(3) for name in ("expert-0", "own-0")]
    run = run_with(tmp_path / "stopped", rows, 3)
    with pytest.raises(KeyboardInterrupt):
        scored(run, fakes.PositionScorer(fail_after=7), chunk_tokens=1)
    assert len(missing_likelihoods(run, POLICY)) == 4
    with run.likelihoods_path(POLICY).open("ab") as file:
        file.write(b'{"torn')
    engine = fakes.PositionScorer()
    found = scored(run, engine)
    assert {problem for problem, _ in engine.scored} == {fakes.problem(1).problem_id, fakes.problem(2).problem_id}
    assert found == scored(run_with(tmp_path / "whole", rows, 3), fakes.PositionScorer())
    assert len(list(read_parts(run.likelihoods_folder(POLICY)))) == 6


def test_a_candidate_that_came_later_is_ranked_among_the_scored_ones(tmp_path: Path) -> None:
    run = run_with(tmp_path, [fakes.candidate(name="own-0", text="a"), fakes.candidate(name="own-1", text="abcd")])
    scored(run, fakes.PositionScorer())
    with Appender(run.candidates_path) as rows:
        rows.append([fakes.candidate(name="imported-0", text="ab")])
    found = scored(run, fakes.PositionScorer())
    assert found[fakes.problem().problem_id, "imported-0"].rank == 2


def test_arrays_written_twice_are_read_once(tmp_path: Path) -> None:
    run = run_with(tmp_path, [fakes.candidate()])
    scored(run, fakes.PositionScorer())
    run.likelihoods_path(POLICY).unlink()
    scored(run, fakes.PositionScorer())
    assert len(list(read_parts(run.likelihoods_folder(POLICY)))) == 1


def test_names_of_policies_make_files_of_their_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    names = ["micro", "a/b", "a-b", "a b", "../../x", "."]
    paths = [run.likelihoods_path(name) for name in names]
    assert len(set(paths)) == len(paths)
    assert all(path.parent == tmp_path / "likelihoods" for path in paths)


def test_without_candidates_there_is_nothing_to_score(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no candidates"):
        scored(run_with(tmp_path, []), fakes.PositionScorer())


class NarrowScorer(fakes.PositionScorer):
    """Tells no entropies, and scores no continuation of more than 20 tokens."""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        lengths = {
            (request.problem_id, one.key): len(one.token_ids) for request in requests for one in request.continuations
        }
        for one in super().score(requests):
            fits = lengths[one.problem_id, one.key] <= 20
            yield replace(one, entropies=None) if fits else Scored.failed(one.problem_id, one.key, "too long")


def test_candidates_that_do_not_fit_are_left_unscored_and_not_tried_again(tmp_path: Path) -> None:
    # "fits" is 4 characters; 12 and the slot's 9 are 21 tokens, so that only the slot after "no slot fits" is too long
    texts = {"expert-0": "fits", "expert-1": "no slot fits", "expert-2": "the chain itself does not fit"}
    run = run_with(tmp_path, [fakes.candidate(name=name, text=text) for name, text in texts.items()])
    engine = NarrowScorer()
    ((_, name),) = scored(run, engine)
    assert name == "expert-0"
    assert run.unscored(POLICY) == {fakes.problem().problem_id: {"expert-1": "too long", "expert-2": "too long"}}
    assert len(missing_likelihoods(run, POLICY)) == 0
    before = len(engine.scored)
    assert len(scored(run, engine)) == 1
    assert len(engine.scored) == before


def test_entropies_that_an_engine_does_not_tell_are_null(tmp_path: Path) -> None:
    run = run_with(tmp_path, [fakes.candidate(text="ab")])
    (row,) = scored(run, NarrowScorer()).values()
    assert row.mean_entropy is None
    (arrays,) = read_parts(run.likelihoods_folder(POLICY))
    assert arrays.entropies is None
    assert arrays.logprobs == pytest.approx([-0.1, -0.2, -0.3])


@pytest.mark.parametrize(("seconds_a_token", "expected"), [(0.0, [4, 16, 64, 64, 52]), (0.01, [4] * 50)])
def test_a_slow_policy_is_written_more_often(monkeypatch, seconds_a_token, expected):
    """200 problems of 512 tokens: 2,048 at first, four times as many where that was quick, never over the most."""
    now = [0.0]
    monkeypatch.setattr(scoring.time, "monotonic", lambda: now[0])
    job = SimpleNamespace(first=lambda: SimpleNamespace(continuations=[SimpleNamespace(token_ids=range(512))]))
    sizes = []
    for chunk in scoring._chunks(iter([job] * 200), 32_768):
        sizes.append(len(chunk))
        now[0] += len(chunk) * 512 * seconds_a_token
    assert sizes == expected
