"""Runs with scored candidates made by hand: a token is a byte, so any text can be one."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from expo_bench.likelihood.two_property import compute
from expo_bench.rows import Candidate, Likelihood, Manifest, Problem, Source
from expo_bench.storage.row_files import Appender, write_atomically
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.token_arrays import TokenArrays, write_part

PER_PROBLEM: tuple[tuple[Source, str], ...] = (
    ("expert", "expert-0"),
    ("self_explanation", "self_explanation-0"),
    ("self_explanation", "self_explanation-1"),
    ("own_correct", "own-0"),
    ("own_incorrect", "own-1"),
)
MEANS = {"expert": -17.0, "self_explanation": -0.1, "own_correct": -0.001, "own_incorrect": -0.002}


def byte_tokenizer(folder: Path) -> Path:
    """Write a tokenizer whose tokens are bytes; the weights beside it are an empty file."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    (folder / "model.safetensors").touch()
    return folder


def make_chains_run(
    path: Path,
    tokenizer: Path,
    *,
    policies: Sequence[str] = ("base",),
    n_problems: int = 10,
    texts: Sequence[str] = (),
    benchmark: str = "math500",
) -> RunFolder:
    """Write a run of problems of levels 4 and 5; `texts` go into every place that holds foreign text."""
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tokenizer)
    run = RunFolder(path)
    run.write_manifest(_manifest(policies[0], n_problems, benchmark))
    foreign = [texts[at % len(texts)] if texts else "" for at in range(n_problems)]
    problems = [
        Problem(
            problem_id=f"{benchmark}-{at:012x}",
            benchmark=benchmark,
            split="test",
            question=f"{text} What is {at} + 1?",
            answer=text or str(at + 1),
            level=4 + at % 2,
        )
        for at, text in enumerate(foreign)
    ]
    run.write_problems(problems)
    candidates = [
        _candidate(problem, source, name, f"{text} So it is \\boxed{{{at + 1}}}.")
        for at, (problem, text) in enumerate(zip(problems, foreign, strict=True))
        for source, name in PER_PROBLEM
    ]
    with Appender(run.candidates_path) as rows:
        rows.append(candidates)
    for step, policy in enumerate(policies):
        _score(run, candidates, policy, ids, tokenizer, step)
    run.write_likelihood_metrics(compute(run, draws=200))
    return run


def _manifest(model: str, n_problems: int, benchmark: str) -> Manifest:
    return Manifest(
        schema_version=1,
        status="finished",
        started="2026-03-02T09:12:44+00:00",
        finished="2026-03-02T09:58:01+00:00",
        protocol_hash="0" * 12,
        protocol={"prompt": "boxed", "temperature": 1.0, "max_tokens": 256},
        model={"name": model, "weights_digest": "0" * 12, "engine": "transformers"},
        benchmarks={benchmark: {"split": "test", "n_problems": n_problems}},
        seed=0,
        environment={},
        counts={"problems": n_problems},
    )


def _candidate(problem: Problem, source: Source, name: str, text: str) -> Candidate:
    return Candidate(
        problem_id=problem.problem_id,
        candidate_id=name,
        source=source,
        text=text,
        token_ids=None,
        finish_reason=None,
        reaches_answer=source != "own_incorrect",
        leaks_answer=False,
        repetitive=False,
        truncated=False,
        policy=None,
    )


def _score(
    run: RunFolder, candidates: Sequence[Candidate], policy: str, tokenizer: object, folder: Path, step: int
) -> None:
    rng = random.Random(step)
    rows, arrays = [], []
    for one in candidates:
        token_ids = tuple(tokenizer(one.text)["input_ids"])  # type: ignore[operator]
        mean = MEANS[one.source] * (1 + 0.1 * step) * rng.uniform(0.8, 1.25)
        arrays.append(
            TokenArrays(
                problem_id=one.problem_id,
                candidate_id=one.candidate_id,
                token_ids=token_ids,
                logprobs=np.full(len(token_ids), mean, dtype=np.float32),
                entropies=np.ones(len(token_ids), dtype=np.float32),
            )
        )
        rows.append(
            Likelihood(
                problem_id=one.problem_id,
                candidate_id=one.candidate_id,
                policy=policy,
                n_tokens=len(token_ids),
                sum_logprob=mean * len(token_ids),
                mean_logprob=mean,
                logprob_quantiles=(mean,) * 5,
                perplexity=1.0,
                mean_entropy=1.0,
                rank=None,
                answer_logprob_with=-rng.uniform(0, 4),
                answer_logprob_without=-3.0 - step,
                opening_logprob_with=-1.0,
                opening_logprob_without=-1.0,
                answer_slack=0.0,
                answer_place="box",
                boundary_rule="text",
            )
        )
    write_part(run.likelihoods_folder(policy), arrays)
    with Appender(run.likelihoods_path(policy)) as written:
        written.append(rows)
    write_atomically(run.policy_path(policy), json.dumps({"name": str(folder), "revision": None}))
