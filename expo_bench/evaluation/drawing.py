"""What the stages that draw from a policy share: which samples a file lacks, and how they get into it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from expo_bench.engines.base import Completion, Request
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem, PromptKind, Sample
from expo_bench.storage.row_files import Appender

Missing = list[tuple[Problem, list[int]]]
"""Problems that lack samples, in order, with the sample indexes that they lack."""


def seed_from(*parts: int | str) -> int:
    """Return a seed below 2**48 that depends on these parts and their order alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6])


def missing(keys: Iterable[tuple[str, int]], problems: Sequence[Problem], n: int) -> Missing:
    """Return what is lacking of `n` samples of each problem; `keys` are the problem ids and indexes of those there."""
    done: dict[str, set[int]] = {}
    for problem_id, index in keys:
        done.setdefault(problem_id, set()).add(index)
    lacking = (
        (problem, [index for index in range(n) if index not in done.get(problem.problem_id, ())])
        for problem in problems
    )
    return [(problem, indexes) for problem, indexes in lacking if indexes]


def draw(
    path: Path,
    wanted: Missing,
    complete: Callable[[Sequence[Request]], Iterator[Completion]],
    *,
    prompt: Prompt,
    kind: PromptKind,
    seed_of: Callable[[str, int], int],
    on_sample: Callable[[Sample], None] | None = None,
) -> None:
    """Draw what is wanted; each sample is on disk before the next is waited for.

    Args:
        path: the file that the samples are appended to.
        wanted: from `missing`; where it is empty, `complete` is not called.
        complete: yields the completions of the requests, in any order.
        prompt: rendered for each problem.
        kind: of the prompt.
        seed_of: problem id, sample index -> the sample's seed.
        on_sample: called after each sample is written.
    """
    if not wanted:
        return
    requests = [
        Request(
            problem_id=problem.problem_id,
            messages=prompt.messages(problem),
            chat=prompt.chat,
            sample_indexes=tuple(indexes),
            seeds=tuple(seed_of(problem.problem_id, index) for index in indexes),
        )
        for problem, indexes in wanted
    ]
    with Appender(path) as samples:
        for done in complete(requests):
            row = Sample(
                problem_id=done.problem_id,
                sample_index=done.sample_index,
                prompt_kind=kind,
                text=done.text,
                token_ids=done.token_ids,
                n_tokens=done.n_tokens,
                finish_reason=done.finish_reason,
                seed=seed_of(done.problem_id, done.sample_index),
                sum_logprob=done.sum_logprob,
                error=done.error,
            )
            samples.append([row])
            if on_sample:
                on_sample(row)
