"""Small stand-ins that drive the real pipeline."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.rows import Grade, Problem, Sample


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


class SeededGenerator:
    """An engine whose completions are a function of the seed alone, in an order of its own."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.calls: list[tuple[Request, ...]] = []
        self.fail_after = fail_after

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
