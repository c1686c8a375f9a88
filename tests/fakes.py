"""Small stand-ins that drive the real pipeline."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from expo_bench.engines.base import (
    Branch,
    Completion,
    Continuation,
    Gauge,
    Request,
    SamplingParams,
    Scored,
    ScoreRequest,
)
from expo_bench.rows import Candidate, Grade, Problem, Sample


def problem(number: int = 0, **fields: Any) -> Problem:
    values = {
        "problem_id": f"toy-{number:012x}",
        "benchmark": "toy",
        "split": "test",
        "question": f"What is {number} + 1?",
        "answer": str(number + 1),
        "level": number % 5 + 1,
        **fields,
    }
    return Problem(**values)


def sample(number: int = 0, index: int = 0, **fields: Any) -> Sample:
    values = {
        "problem_id": f"toy-{number:012x}",
        "sample_index": index,
        "prompt_kind": "solve",
        "text": f"\\boxed{{{number + 1}}}",
        "token_ids": (1, 2, 3),
        "n_tokens": 3,
        "finish_reason": "stop",
        "seed": 7,
        "sum_logprob": -1.5,
        **fields,
    }
    return Sample(**values)


def grade(number: int = 0, index: int = 0, **fields: Any) -> Grade:
    values = {
        "problem_id": f"toy-{number:012x}",
        "sample_index": index,
        "grader": "fake",
        "status": "graded",
        "correct": True,
        "extracted": str(number + 1),
        "answer_class": 0,
        "seconds": 0.0,
        **fields,
    }
    return Grade(**values)


def candidate(number: int = 0, name: str = "expert-0", **fields: Any) -> Candidate:
    source = name.rpartition("-")[0]
    values = {
        "problem_id": f"toy-{number:012x}",
        "candidate_id": name,
        "source": "own_incorrect" if source == "own" else source,
        "text": f"so \\boxed{{{number + 1}}}",
        "token_ids": None,
        "finish_reason": None,
        "reaches_answer": True,
        "leaks_answer": False,
        "repetitive": False,
        "truncated": False,
        "policy": None,
        **fields,
    }
    return Candidate(**values)


class PositionScorer:
    """A token is a character, 0 ends a turn; the t-th token after the prompt has log-probability -t/10, entropy t."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.scored: list[tuple[str, str]] = []
        self.requests: list[ScoreRequest] = []
        self.fail_after = fail_after

    def tokenize(self, text: str) -> tuple[int, ...]:
        return (*map(ord, text), 0)

    def token_texts(self, ids: Sequence[int]) -> list[bytes]:
        return [chr(one).encode() if one else b"" for one in ids]

    def cover(self, text: bytes) -> tuple[int, ...]:
        return tuple(map(ord, text.decode()))

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        self.requests += requests
        for request in requests:
            for one in reversed(request.continuations):
                if len(self.scored) == self.fail_after:
                    raise KeyboardInterrupt
                self.scored.append((request.problem_id, one.key))
                places = np.arange(one.given + 1, len(one.token_ids) + 1, dtype=np.float32)
                yield Scored(
                    problem_id=request.problem_id,
                    key=one.key,
                    token_ids=one.token_ids[one.given :],
                    logprobs=-places / 10,
                    entropies=places,
                    branches=self._branches(one, -places / 10) if one.marks else (),
                )

    def _branches(self, one: Continuation, logprobs: Any) -> tuple[Branch, ...]:
        """No token but the given one may stand at its place."""
        found, at = [], 0
        for token, value in zip(one.token_ids[one.given :], logprobs.tolist(), strict=True):
            length = len(chr(token).encode())
            ends = tuple(value if at < mark <= at + length else -math.inf for mark in one.marks)
            found.append(Branch(inside=((token, length, value),), ends=ends))
            at += length
        return tuple(found)


class SeededGenerator:
    """An engine whose completions are a function of the seed alone, in an order of its own."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.calls: list[tuple[Request, ...]] = []
        self.fail_after = fail_after
        self.gauge = Gauge()

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        self.calls.append(tuple(requests))
        pairs = [(request, place) for request in requests for place in range(len(request.seeds))]
        random.Random(3).shuffle(pairs)
        for done, (request, place) in enumerate(pairs):
            if done == self.fail_after:
                raise KeyboardInterrupt
            draw = random.Random(request.seeds[place])
            yield Completion(
                problem_id=request.problem_id,
                sample_index=request.sample_indexes[place],
                text=f"{request.prefix and 'continued '}\\boxed{{{draw.randrange(10)}}}",
                token_ids=(draw.randrange(100),),
                n_tokens=1,
                finish_reason="stop",
                sum_logprob=-0.5,
            )

    def describe(self) -> dict[str, Any]:
        return {"name": "fake", "engine": "fake", "weights_digest": "0" * 12}

    def close(self) -> None:
        pass


class Silent:
    """Progress that nobody looks at."""

    def note(self, text: str) -> None:
        pass

    def start(self, stage: str, total: int, done: int, gauge: Any = None, beside: Any = None) -> Any:
        return lambda n_tokens: None
