"""Log-probabilities of given continuations under a model that vLLM serves: its `prompt_logprobs`, one request each.

vLLM (0.32) does not read its prefix cache for a request that asks for `prompt_logprobs`, since positions found there
would have none. Each continuation thus computes its prompt again; the values are exact and none is missing. Where
other ways to write a text count too, vLLM lists the likeliest tokens of each place; what others could hold is bounded.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from expo_bench.engines.base import Branch, Continuation, Scored, ScoreRequest
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.vllm.errors import step
from expo_bench.engines.vocabulary import Vocabulary
from expo_bench.errors import UserError

MOST_LISTED = 20
_Job = tuple[str, Continuation, list[int]]


def score(
    engine: Any,
    tokenizer: Any,
    requests: Sequence[ScoreRequest],
    sampling: Callable[[int], Any],
    *,
    enable_thinking: bool | None,
    context: int,
    window: int,
    listed: int,
    vocabulary: Callable[[], Vocabulary],
    adapter: Any = None,
) -> Iterator[Scored]:
    """Yield the scores of all continuations, in any order.

    Args:
        engine: vLLM's `LLMEngine`, with no other request in it.
        tokenizer: of the model.
        requests: what to score.
        sampling: returns vLLM parameters that ask for one token, `flat_logprobs` and so many `prompt_logprobs`.
        enable_thinking: handed to the chat template where not None.
        context: the most tokens of the model's context; vLLM wants room for one more than are scored.
        window: requests in flight at most.
        listed: the likeliest tokens that are asked for where a continuation has marks.
        vocabulary: returns that of the tokenizer.
        adapter: vLLM's `LoRARequest`, None for the model alone.

    Raises:
        UserError: a continuation has nothing to score, or vLLM gives no log-probability for one of its tokens.
    """
    waiting = _jobs(tokenizer, requests, enable_thinking)
    running: dict[str, _Job] = {}
    try:
        while True:
            for number, job in itertools.islice(waiting, window - len(running)):
                problem_id, one, prompt = job
                ids = [*prompt, *one.token_ids]
                if len(ids) >= context:
                    error = f"{len(ids)} tokens with the prompt, the model's context is {context}"
                    yield Scored.failed(problem_id, one.key, error)
                    continue
                prompt_of_vllm = {"type": "token", "prompt_token_ids": ids}
                asked = sampling(listed if one.marks else 0)
                engine.add_request(number, prompt_of_vllm, asked, lora_request=adapter)
                running[number] = job
            if not running:
                return
            for output in step(engine):
                if output.finished:
                    yield _scored(running.pop(output.request_id), output.prompt_logprobs, listed, vocabulary)
    finally:
        if running:
            engine.abort_request(list(running))


def _jobs(tokenizer: Any, requests: Sequence[ScoreRequest], enable_thinking: bool | None) -> Iterator[tuple[str, _Job]]:
    for place, request in enumerate(requests):
        prompt = prompt_ids(tokenizer, request, enable_thinking)
        for index, one in enumerate(request.continuations):
            if not prompt or len(one.token_ids) <= one.given:
                raise UserError(f"{request.problem_id}, {one.key}: an empty prompt or nothing to score")
            yield f"score-{place}-{index}", (request.problem_id, one, prompt)


def _scored(job: _Job, flat: Any, listed: int, vocabulary: Callable[[], Vocabulary]) -> Scored:
    problem_id, one, prompt = job
    ids = one.token_ids[one.given :]
    # a position's first entry is the token that stands there
    first = len(prompt) + one.given
    places = flat.start_indices[first:] if flat is not None else []
    if tuple(flat.token_ids[place] for place in places) != ids:
        raise UserError(f"{problem_id}, {one.key}: vLLM does not give the log-probabilities of all tokens")
    branches: tuple[Branch, ...] = ()
    if one.marks:
        ranges = map(range, places, flat.end_indices[first:])
        tokens = [{flat.token_ids[at]: flat.logprobs[at] for at in entries} for entries in ranges]
        branches = vocabulary().listed(one, tokens, top=listed, complete=True)
    return Scored(
        problem_id=problem_id,
        key=one.key,
        token_ids=ids,
        branches=branches,
        logprobs=np.array([flat.logprobs[place] for place in places], dtype=np.float32),
        entropies=None,
    )
