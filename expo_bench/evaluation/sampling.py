"""The stage from problems to samples."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from expo_bench.engines.base import Completion, Generator, Request, SamplingParams
from expo_bench.evaluation.drawing import Missing, draw, missing, seed_from
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem, Sample
from expo_bench.storage.run_folder import RunFolder

THINK_END = "</think>"


def sample_seed(run_seed: int, problem_id: str, sample_index: int) -> int:
    """Return the seed of one sample, below 2**48: the same wherever and whenever the sample is drawn."""
    return seed_from(run_seed, problem_id, sample_index)


def sample(
    run: RunFolder,
    problems: Sequence[Problem],
    engine: Generator,
    *,
    prompt: Prompt,
    params: SamplingParams,
    n: int,
    seed: int,
    thinking_tokens: int | None = None,
    on_sample: Callable[[Sample], None] | None = None,
) -> None:
    """Draw the samples that the run folder does not hold yet; each is on disk before the next is waited for.

    Args:
        run: appended to; the caller holds its lock.
        problems: those of the run.
        engine: draws the completions.
        prompt: the solve prompt.
        params: how to sample; with `thinking_tokens`, max_tokens counts from `</think>`.
        n: samples a problem.
        seed: the run's.
        thinking_tokens: budget of what stands before `</think>`, where the policy is a thinking model.
        on_sample: called after each new sample is written.

    Raises:
        UserError: the engine cannot do what is asked.
    """
    draw(
        run.samples_path,
        missing_samples(run, problems, n),
        lambda requests: _complete(engine, requests, params, thinking_tokens),
        prompt=prompt,
        kind="solve",
        seed_of=partial(sample_seed, seed),
        on_sample=on_sample,
    )


def missing_samples(run: RunFolder, problems: Sequence[Problem], n: int, *, redraw_errors: bool = False) -> Missing:
    """Return the problems that lack samples, in order, with the sample indexes that they lack.

    With `redraw_errors`, a sample that ended in an error is lacking.
    """
    done = ((problem, index) for problem, index, failed in run.sample_keys() if not (redraw_errors and failed))
    return missing(done, problems, n)


def _complete(
    engine: Generator, requests: Sequence[Request], params: SamplingParams, thinking_tokens: int | None
) -> Iterator[Completion]:
    if thinking_tokens is None:
        return engine.generate(requests, params)
    return _think_then_answer(engine, requests, params, thinking_tokens)


def _think_then_answer(
    engine: Generator, requests: Sequence[Request], params: SamplingParams, thinking_tokens: int
) -> Iterator[Completion]:
    """Sample thoughts up to their own budget, close them where they did not end, and go on with the answers.

    The ids of the whole are not known, since the closing tag is put in as text.
    """
    thinking = SamplingParams(
        temperature=params.temperature, top_p=params.top_p, max_tokens=thinking_tokens, stop=(THINK_END,)
    )
    by_id = {request.problem_id: request for request in requests}
    thoughts: dict[tuple[str, int], Completion] = {}
    answers: list[Request] = []
    for thought in engine.generate(requests, thinking):
        if thought.finish_reason == "error":
            yield thought
            continue
        request = by_id[thought.problem_id]
        place = request.sample_indexes.index(thought.sample_index)
        thoughts[thought.problem_id, thought.sample_index] = thought
        answers.append(
            Request(
                problem_id=request.problem_id,
                messages=request.messages,
                chat=request.chat,
                sample_indexes=(thought.sample_index,),
                # another stream than the thought's, so that the two are independent
                seeds=(request.seeds[place] ^ 1,),
                prefix=f"{request.prefix}{thought.text}\n{THINK_END}\n\n",
            )
        )
    for answer in engine.generate(answers, params):
        thought = thoughts[answer.problem_id, answer.sample_index]
        known = answer.sum_logprob is not None and thought.sum_logprob is not None
        yield Completion(
            problem_id=answer.problem_id,
            sample_index=answer.sample_index,
            text=f"{thought.text}\n{THINK_END}\n\n{answer.text}",
            token_ids=None,
            n_tokens=thought.n_tokens + answer.n_tokens,
            finish_reason=answer.finish_reason,
            sum_logprob=(answer.sum_logprob or 0.0) + (thought.sum_logprob or 0.0) if known else None,
            error=answer.error,
        )
