"""Candidates and likelihoods on the micro world, through the command line, as a user runs them."""

import json
import shutil
from pathlib import Path

import pytest

from expo_bench.rows import Sample
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.token_arrays import read_parts
from tests.command_line import run

CANDIDATES = ["candidates", "-m", "micro", "-b", "micro", "--levels", "5", "--max-tokens", "64", "--limit"]

KINDS = (RunFolder.explanations, RunFolder.samples)


def _key(row: Sample) -> tuple[str, int]:
    return row.problem_id, row.sample_index


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measuring")
    for words in ([*CANDIDATES, "10", "--n-own", "2", "-o", "run"], ["likelihood", "run", "-m", "micro"]):
        done = run(*words, folder=folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "run\n"
    (folder / "table.txt").write_text(done.stderr)
    return folder


def test_the_two_properties_of_the_base_policy_at_level_5(finished: Path) -> None:
    rows = json.loads((finished / "run/likelihood_metrics.json").read_text())
    found = {(row["source"], row["name"]): row for row in rows if row["subset"] == "level=5"}
    own, explained, expert = (
        found[source, "mean_logprob"] for source in ("own_incorrect", "self_explanation", "expert")
    )
    assert own["value"] > explained["value"] > expert["value"]
    assert expert["ci_high"] < explained["ci_low"]
    # paired by problem, the intervals tell the sources apart even on so few
    assert found["own_incorrect", "logprob_gap"]["ci_low"] > 0
    assert found["expert", "logprob_gap"]["ci_high"] < 0
    assert found["self_explanation", "answer_lift"]["value"] > found["own_incorrect", "answer_lift"]["value"]
    assert found["expert", "nll_ratio"]["value"] > 2
    assert "own wrong" in (finished / "table.txt").read_text()


def test_sampled_ids_score_what_the_sampler_reported(finished: Path) -> None:
    folder = RunFolder(finished / "run")
    reported = {(row.problem_id, f"own-{row.sample_index}"): row.sum_logprob for row in folder.samples()}
    scored = {(row.problem_id, row.candidate_id): row.sum_logprob for row in folder.likelihoods("micro")}
    assert len(reported) == 20
    for key, expected in reported.items():
        assert scored[key] == pytest.approx(expected, abs=2e-3)


def test_every_candidate_has_its_likelihood_and_its_arrays(finished: Path) -> None:
    folder = RunFolder(finished / "run")
    candidates = {(row.problem_id, row.candidate_id) for row in folder.candidates()}
    rows = {(row.problem_id, row.candidate_id): row for row in folder.likelihoods("micro")}
    arrays = {(row.problem_id, row.candidate_id): row for row in read_parts(folder.likelihoods_folder("micro"))}
    manifest = folder.read_manifest()
    assert candidates == rows.keys() == arrays.keys()
    assert len(candidates) == manifest.counts["candidates"] == 10 + 20 + 20
    assert all(len(arrays[key].token_ids) == row.n_tokens for key, row in rows.items())
    assert manifest.status == "finished"
    assert manifest.protocol["prompt_digest"] != manifest.protocol["explain_prompt_digest"]


def test_explanations_have_a_temperature_of_their_own(tmp_path: Path) -> None:
    greedy = ["4", "--n-own", "2", "--temperature", "2", "--per-source", "1", "--explain-temperature", "0"]
    runs = []
    for seed in ("0", "1"):
        done = run(*CANDIDATES, *greedy, "--seed", seed, "-o", seed, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        runs.append(RunFolder(tmp_path / seed))
    explained, own = ([[row.text for row in sorted(rows(one), key=_key)] for one in runs] for rows in KINDS)
    assert explained[0] == explained[1]
    assert own[0] != own[1]
    protocol = runs[0].read_manifest().protocol
    assert (protocol["temperature"], protocol["explain_temperature"]) == (2.0, 0.0)
    done = run(*CANDIDATES, "4", "--explain-temperature", "0", "-o", "two", folder=tmp_path)
    assert done.returncode == 2 and "set per_source to 1" in done.stderr


def test_the_same_commands_again_load_no_model_and_change_nothing(finished: Path) -> None:
    folder = RunFolder(finished / "run")
    files = [folder.candidates_path, folder.explanations_path, folder.likelihoods_path("micro")]
    before = [file.read_bytes() for file in files]
    done = run(*CANDIDATES, "10", "--n-own", "2", "-o", "run", "--json", folder=finished)
    assert json.loads(done.stdout)["sources"]["expert"]["candidates"] == 10
    assert "loading" not in done.stderr
    done = run("likelihood", "run", "-m", "micro", "--json", folder=finished)
    assert json.loads(done.stdout)["run"] == "run"
    assert "loading" not in done.stderr
    assert [file.read_bytes() for file in files] == before


def test_own_samples_of_another_run_are_taken_with_their_grades(finished: Path) -> None:
    words = ["--samples", "run", "--sources", "own", "--n-own", "1", "-o", "reused"]
    done = run(*CANDIDATES, "3", *words, folder=finished)
    assert done.returncode == 0, done.stderr
    folder = RunFolder(finished / "reused")
    assert not folder.samples_path.exists()
    assert [row.candidate_id for row in folder.candidates()] == ["own-0"] * 3


def test_an_interrupted_scoring_goes_on(finished: Path) -> None:
    shutil.copytree(finished / "run", finished / "torn")
    folder = RunFolder(finished / "torn")
    whole = {(row.problem_id, row.candidate_id): row for row in folder.likelihoods("micro")}
    path = folder.likelihoods_path("micro")
    path.write_bytes(path.read_bytes()[: 4 * path.stat().st_size // 5])
    done = run("likelihood", "torn", "-m", "micro", folder=finished)
    assert done.returncode == 0, done.stderr
    rows = list(folder.likelihoods("micro"))
    assert len(rows) == len(whole)
    for row in rows:
        expected = whole.pop((row.problem_id, row.candidate_id))
        assert row.sum_logprob == pytest.approx(expected.sum_logprob, abs=2e-3)
        assert row.rank == expected.rank


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*CANDIDATES, "1", "--sources", "nothing"], "sources.0:"),
        ([*CANDIDATES, "1", "--import", "absent.jsonl"], "belong together"),
        ([*CANDIDATES, "1", "--sources", "imported", "--import", "absent.jsonl"], "absent.jsonl is not a file"),
        ([*CANDIDATES, "1", "--sources", "imported"], "belong together"),
        ([*CANDIDATES, "1", "--explain-prompt", "nope"], "neither a file nor one of self-explain"),
        ([*CANDIDATES, "1", "--sources", "own", "--samples", "nowhere"], "not a run folder"),
        (["likelihood", "nowhere", "-m", "micro"], "not a run folder"),
        (["likelihood", "run", "-m", "http://127.0.0.1:1/v1#x"], "no server answers at"),
        (
            ["likelihood", "run", "-m", "another", "--engine", "nope"],
            "'nope' is none of auto, transformers",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(finished: Path, words: list[str], says: str) -> None:
    done = run(*words, folder=finished)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert says in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
