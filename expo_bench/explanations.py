"""The stage from problems to self-explanations: chains that the policy writes when it is shown the gold answer."""

import hashlib
from collections.abc import Callable, Sequence

from expo_bench.engines.base import Generator, Request, SamplingParams
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem, Sample
from expo_bench.store import Appender, RunFolder


def explanation_seed(run_seed: int, problem_id: str, index: int) -> int:
    """Return the seed of one self-explanation, below 2**48; independent of the seeds of the plain samples."""
    digest = hashlib.sha256(f"{run_seed}/{problem_id}/self_explain/{index}".encode()).digest()
    return int.from_bytes(digest[:6])


def missing_explanations(run: RunFolder, problems: Sequence[Problem], n: int) -> list[tuple[Problem, list[int]]]:
    """Return the problems that lack self-explanations, with the indexes that they lack; none without a gold answer."""
    done = {(row.problem_id, row.sample_index) for row in run.explanations()}
    lacking = (
        (problem, [index for index in range(n) if (problem.problem_id, index) not in done])
        for problem in problems
        if problem.answer
    )
    return [(problem, indexes) for problem, indexes in lacking if indexes]


def explain(
    run: RunFolder,
    problems: Sequence[Problem],
    engine: Generator,
    *,
    prompt: Prompt,
    params: SamplingParams,
    n: int,
    seed: int,
    on_sample: Callable[[Sample], None] | None = None,
) -> None:
    """Draw the self-explanations that the run folder does not hold yet: the policy is shown the gold answer.

    Args:
        run: appended to; the caller holds its lock.
        problems: those of the run.
        engine: the policy.
        prompt: holds `{question}` and `{answer}`.
        params: how to sample.
        n: self-explanations a problem.
        seed: the run's.
        on_sample: called after each is written.
    """
    missing = missing_explanations(run, problems, n)
    requests = [
        Request(
            problem_id=problem.problem_id,
            messages=prompt.messages(problem),
            chat=prompt.chat,
            sample_indexes=tuple(indexes),
            seeds=tuple(explanation_seed(seed, problem.problem_id, index) for index in indexes),
        )
        for problem, indexes in missing
    ]
    if not requests:
        return
    with Appender(run.explanations_path) as explanations:
        for completion in engine.generate(requests, params):
            row = Sample(
                problem_id=completion.problem_id,
                sample_index=completion.sample_index,
                prompt_kind="self_explain",
                text=completion.text,
                token_ids=completion.token_ids,
                n_tokens=completion.n_tokens,
                finish_reason=completion.finish_reason,
                seed=explanation_seed(seed, completion.problem_id, completion.sample_index),
                sum_logprob=completion.sum_logprob,
                error=completion.error,
            )
            explanations.append([row])
            if on_sample:
                on_sample(row)
