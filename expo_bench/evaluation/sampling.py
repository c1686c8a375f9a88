"""The stage from problems to samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from expo_bench.config import EvalConfig
from expo_bench.engines.base import Completion, Generator, Request, SamplingParams
from expo_bench.evaluation.drawing import Stage, seed_from
from expo_bench.prompts import Prompt
from expo_bench.rows import PromptKind
from expo_bench.storage.run_folder import RunFolder

THINK_END = "</think>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling(Stage):
    """Answers to the problems."""

    name: ClassVar[str] = "samples"
    doing: ClassVar[str] = "sampling"
    kind: ClassVar[PromptKind] = "solve"

    thinking_tokens: int | None = None
    """Budget of what stands before `</think>`, where the policy is a thinking model; max_tokens counts from there."""
    redraw_errors: bool = False
    """Whether a sample that ended in an error is lacking."""

    @property
    def most_tokens(self) -> int:
        """Tokens of a completion at most."""
        return self.params.max_tokens + (self.thinking_tokens or 0)

    def within(self, tokens: int) -> Self:
        """Return the stage with at most so many tokens a completion, thoughts having their share of them."""
        thinking = self.thinking_tokens and max(1, tokens * self.thinking_tokens // self.most_tokens)
        rest = replace(self.params, max_tokens=max(1, tokens - (thinking or 0)))
        return replace(self, thinking_tokens=thinking, params=rest)

    def path(self, run: RunFolder) -> Path:
        """Return the file of the samples."""
        return run.samples_path

    def keys(self, run: RunFolder) -> Iterator[tuple[str, int]]:
        """Yield the samples that count as drawn."""
        return ((problem, index) for problem, index, failed in run.sample_keys() if not (self.redraw_errors and failed))

    def seed_of(self, problem_id: str, index: int) -> int:
        """Return the seed of one sample."""
        return seed_from(self.seed, problem_id, index)

    def complete(self, engine: Generator, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield the completions, thoughts apart from answers where each has a budget."""
        if self.thinking_tokens is None:
            return engine.generate(requests, self.params)
        return _think_then_answer(engine, requests, self.params, self.thinking_tokens)


def sampling(config: EvalConfig, prompt: Prompt) -> Sampling:
    """Return the stage that draws a run's samples."""
    return Sampling(
        prompt=prompt,
        params=sampling_params(config),
        n=config.n,
        seed=config.seed,
        thinking_tokens=config.thinking_tokens,
        redraw_errors=config.redraw_errors,
    )


def sampling_params(config: EvalConfig) -> SamplingParams:
    """Return how the configuration samples."""
    return SamplingParams(
        temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens, stop=config.stop
    )


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
