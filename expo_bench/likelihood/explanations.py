"""The stage from problems to self-explanations: chains that the policy writes when it is shown the gold answer."""

from collections.abc import Callable, Sequence
from functools import partial

from expo_bench.engines.base import Generator, SamplingParams
from expo_bench.evaluation.drawing import Missing, draw, missing, seed_from
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem, Sample
from expo_bench.storage.run_folder import RunFolder


def explanation_seed(run_seed: int, problem_id: str, index: int) -> int:
    """Return the seed of one self-explanation, below 2**48; independent of the seeds of the plain samples."""
    return seed_from(run_seed, problem_id, "self_explain", index)


def missing_explanations(run: RunFolder, problems: Sequence[Problem], n: int) -> Missing:
    """Return the problems that lack self-explanations, with the indexes that they lack; none without a gold answer."""
    keys = ((row.problem_id, row.sample_index) for row in run.explanations())
    return missing(keys, [problem for problem in problems if problem.answer], n)


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
    draw(
        run.explanations_path,
        missing_explanations(run, problems, n),
        lambda requests: engine.generate(requests, params),
        prompt=prompt,
        kind="self_explain",
        seed_of=partial(explanation_seed, seed),
        on_sample=on_sample,
    )
