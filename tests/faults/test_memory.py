"""Memory that runs out in the engine: smaller batches, a named error where one sequence is too much, one line."""

import json
import shutil
from pathlib import Path

import pytest

import expo_bench
from expo_bench.storage.run_folder import RunFolder
from tests.faults import pipeline, processes
from tests.faults.table import Faults

pytestmark = pytest.mark.fault

MICRO = Path(expo_bench.__file__).parent / "assets" / "micro"
LONG = 40_000


def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path, faults: Faults) -> None:
    pipeline.write_problems(tmp_path, 4)
    words = [*pipeline.EVAL[:-1], "n=500", "engine_options.batch_size=2000"]
    lost, messages = 0, []
    # keys and values of 2000 samples are 0.5 GiB
    limits = (100, 200, 300, 400)
    for limit in limits:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        ended = processes.run(tmp_path, words, processes.MemoryLimit(limit))
        assert ended.code == 0, ended.errors
        messages += [line.strip() for line in ended.errors.splitlines() if "out of memory: going on with" in line]
        drawn = {(row.problem_id, row.sample_index): row.finish_reason for row in RunFolder(tmp_path / "run").samples()}
        lost += 2000 - sum(reason != "error" for reason in drawn.values())
    assert messages, ended.errors
    faults.record("out of memory in the engine: a batch of 2000 samples", len(limits), lost, messages[0])


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A folder with a benchmark in which one question, and another's solution, have LONG words; a model takes both."""
    shutil.copytree(MICRO, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 2 * LONG}))
    question, solution = "Compute {} + 3 modulo 100 .", "so \\boxed{{{}}}"
    rows = [{"question": question.format(a), "answer": str(a + 3), "solution": solution.format(a + 3)} for a in (1, 2)]
    rows[1]["question"] += " 1" * LONG
    rows.append({**rows[0], "question": question.format(4), "solution": "1 " * LONG + "\\boxed{7}", "answer": "7"})
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_sequence_that_does_not_fit_is_an_error_by_name(long: Path, faults: Faults) -> None:
    words = ["candidates", "-m", "model", "-b", "sums.jsonl", "--sources", "expert,own", "--engine", "transformers"]
    made = processes.run(long, [*words, "--n-own", "2", "--max-tokens", "24", "-o", "run"], processes.MemoryLimit(150))
    assert made.code == 0, made.errors
    run = RunFolder(long / "run")
    ids = [problem.problem_id for problem in run.problems()]
    samples = {(row.problem_id, row.sample_index): row for row in run.samples()}
    assert len(samples) == 6
    for (problem_id, _), row in samples.items():
        assert (row.finish_reason == "error") == (problem_id == ids[1]), row
    scored = processes.run(
        long, ["likelihood", "run", "-m", "model", "--engine", "transformers"], processes.MemoryLimit(150)
    )
    assert scored.code == 0, scored.errors
    unscored = {(one, name): why for one, listed in run.unscored("model").items() for name, why in listed.items()}
    likelihoods = {(row.problem_id, row.candidate_id) for row in run.likelihoods("model")}
    candidates = {(row.problem_id, row.candidate_id) for row in run.candidates()}
    assert unscored.keys() == {key for key in candidates if key[0] == ids[1]} | {(ids[2], "expert-0")}
    assert all("out of memory" in why for why in unscored.values())
    lost = len(candidates - likelihoods - unscored.keys())
    words = ["likelihood", "run", "-m", "model", "--engine", "transformers", "--retry-unscored"]
    again = processes.run(long, words)
    assert again.code == 0, again.errors
    lost += len(candidates - {(row.problem_id, row.candidate_id) for row in run.likelihoods("model")})
    assert run.unscored("model") == {}
    message = samples[ids[1], 0].error or ""
    faults.record(f"out of memory in the engine: a sequence of {LONG} tokens among others", 2, lost, message)


def test_a_model_that_does_not_fit_is_one_line(tmp_path: Path, faults: Faults) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    pipeline.write_problems(tmp_path)
    shutil.copytree(MICRO, tmp_path / "model")
    config = LlamaConfig.from_pretrained(MICRO, vocab_size=200_000, hidden_size=768, num_hidden_layers=1)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")  # 0.6 GB
    words = ["eval", "-m", "model", *pipeline.EVAL[3:], "engine=transformers"]
    limits = (50, 200, 500)
    for limit in limits:
        ended = processes.run(tmp_path, words, processes.MemoryLimit(limit))
        assert ended.code == 2, ended.errors
        assert "Traceback" not in ended.errors, ended.errors
        assert "cannot load model model: memory ran out" in ended.message, ended.message
    message = ended.message
    ended = processes.run(tmp_path, words)
    assert ended.code == 0, ended.errors
    missing = 4 - sum(1 for _ in RunFolder(tmp_path / "run").samples())
    faults.record("out of memory while a model of 0.6 GB is loaded; then with enough", len(limits), missing, message)
