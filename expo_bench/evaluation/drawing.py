"""What the stages that draw from a policy share: which samples a file lacks, and how they get into it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from expo_bench.engines.base import Completion, Generator, Request, SamplingParams
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem, PromptKind, Sample
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder

Missing = list[tuple[Problem, list[int]]]
"""Problems that lack samples, in order, with the sample indexes that they lack."""


def seed_from(*parts: int | str) -> int:
    """Return a seed below 2**48 that depends on these parts and their order alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6])


def count(lacking: Missing) -> int:
    """Return how many samples are lacking."""
    return sum(len(indexes) for _, indexes in lacking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage that draws from the policy, said once: what it asks, how it samples, and which file its rows are in."""

    name: ClassVar[str]
    doing: ClassVar[str]
    """Its name while it runs."""
    kind: ClassVar[PromptKind]

    prompt: Prompt
    params: SamplingParams
    n: int
    """Samples of a problem."""
    seed: int
    """The run's."""

    @property
    def most_tokens(self) -> int:
        """Tokens of a completion at most."""
        return self.params.max_tokens

    def within(self, tokens: int) -> Self:
        """Return the stage with at most so many tokens a completion."""
        return replace(self, params=replace(self.params, max_tokens=tokens))

    def path(self, run: RunFolder) -> Path:
        """Return the file that the samples are appended to."""
        raise NotImplementedError

    def keys(self, run: RunFolder) -> Iterable[tuple[str, int]]:
        """Yield problem id and index of each sample that is there."""
        raise NotImplementedError

    def seed_of(self, problem_id: str, index: int) -> int:
        """Return the seed of one sample, below 2**48: the same wherever and whenever the sample is drawn."""
        raise NotImplementedError

    def asked(self, problems: Sequence[Problem]) -> list[Problem]:
        """Return those of the problems that it draws of."""
        return list(problems)

    def complete(self, engine: Generator, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield the completions of the requests, in any order."""
        return engine.generate(requests, self.params)

    def missing(self, run: RunFolder, problems: Sequence[Problem]) -> Missing:
        """Return what the run lacks of `n` samples of each problem."""
        done: dict[str, set[int]] = {}
        for problem_id, index in self.keys(run):
            done.setdefault(problem_id, set()).add(index)
        lacking = (
            (problem, [index for index in range(self.n) if index not in done.get(problem.problem_id, ())])
            for problem in self.asked(problems)
        )
        return [(problem, indexes) for problem, indexes in lacking if indexes]

    def draw(
        self,
        run: RunFolder,
        wanted: Missing,
        engine: Generator,
        on_sample: Callable[[Sample], None] | None = None,
    ) -> None:
        """Draw what is wanted; each sample is on disk before the next is waited for.

        Args:
            run: appended to; the caller holds its lock.
            wanted: from `missing`; where it is empty, the engine is not asked.
            engine: draws the completions.
            on_sample: called after each sample is written.

        Raises:
            UserError: the engine cannot do what is asked.
        """
        if not wanted:
            return
        requests = [
            Request(
                problem_id=problem.problem_id,
                messages=self.prompt.messages(problem),
                chat=self.prompt.chat,
                sample_indexes=tuple(indexes),
                seeds=tuple(self.seed_of(problem.problem_id, index) for index in indexes),
            )
            for problem, indexes in wanted
        ]
        with Appender(self.path(run)) as samples:
            for done in self.complete(engine, requests):
                row = Sample(
                    problem_id=done.problem_id,
                    sample_index=done.sample_index,
                    prompt_kind=self.kind,
                    text=done.text,
                    token_ids=done.token_ids,
                    n_tokens=done.n_tokens,
                    finish_reason=done.finish_reason,
                    seed=self.seed_of(done.problem_id, done.sample_index),
                    sum_logprob=done.sum_logprob,
                    error=done.error,
                )
                samples.append([row])
                if on_sample:
                    on_sample(row)
