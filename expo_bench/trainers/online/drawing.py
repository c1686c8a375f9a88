"""The groups of a step: drawn, judged, replaced, drawn again and seated, as the method asks."""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from expo_bench.evaluation.drawing import seed_from
from expo_bench.likelihood.chains import leaks_answer
from expo_bench.rows import Problem
from expo_bench.trainers.methods.base import OnlineMethod
from expo_bench.trainers.methods.chains import Chain, Draw, Group
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.rewards import GoldAnswerReward, reward


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A completion, as a sampler gives it."""

    token_ids: list[int]
    sum_logprob: float | None = None
    logprobs: list[float | None] | None = None
    """Of each token, where TRL corrects for the sampler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A draw of one group, and the numbers of its completions among those of the same source."""

    group: Group
    draw: Draw
    numbers: range
    seeds: tuple[int, ...]


Sampler = Callable[[Sequence[Wanted]], list[list[Drawn]]]
"""Completions of each draw, in the order of its seeds."""


class Drawing:
    """Makes the groups of a step for one process."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        method: OnlineMethod,
        problems: Sequence[Problem],
        judge: GoldAnswerReward,
        tokenizer: Any,
        sampler: Sampler,
        agree: Callable[[bool], bool],
        ends: frozenset[int],
    ) -> None:
        """Take what a step needs.

        Args:
            recipe: its seed and geometry.
            method: tells what to draw.
            problems: the training problems.
            judge: gives verdicts.
            tokenizer: decodes.
            sampler: draws.
            agree: tells whether any process says so: all draw equally often, since sharded weights are gathered.
            ends: the ids that end a completion.
        """
        self._recipe, self._method, self._problems, self._judge = recipe, method, problems, judge
        self._tokenizer, self._sampler, self._agree, self._ends = tokenizer, sampler, agree, ends

    def groups(self, step: int, first: int, indexes: Sequence[int]) -> list[Group]:
        """Return the groups of a step, drawn and seated.

        Args:
            step: optimizer steps taken; seeds come from it.
            first: place of the first of these groups in the step.
            indexes: their problems.
        """
        groups = [
            Group(place=place, index=index, problem=self._problems[index])
            for place, index in enumerate(indexes, start=first)
        ]
        self._draw(step, [(group, self._method.draws(group)) for group in groups])
        for _ in range(1, self._method.most_attempts):
            failed = [group for group in groups if self._method.replaces(group)]
            if not self._agree(bool(failed)):
                break
            for group in failed:
                self._replace(step, group)
            self._draw(step, [(group, self._method.draws(group)) for group in failed])
        while True:
            again = [(group, self._method.draws_again(group)) for group in groups]
            if not self._agree(any(draws for _, draws in again)):
                break
            for group, draws in again:
                group.attempt += bool(draws)
            self._draw(step, again)
        for group in groups:
            self._method.seat(group)
            if len(group.members) != self._recipe.num_generations:
                raise RuntimeError(f"{self._method.name()} seats {len(group.members)} members in a group")
        return groups

    def _replace(self, step: int, group: Group) -> None:
        """Put another problem in the place; which one does not depend on what was drawn elsewhere."""
        group.before += group.chains
        group.chains, group.attempt = [], group.attempt + 1
        chosen = random.Random(f"{self._recipe.seed}/{step}/{group.place}/{group.attempt}")
        group.index = chosen.randrange(len(self._problems))
        group.problem = self._problems[group.index]

    def _draw(self, step: int, asked: Sequence[tuple[Group, Sequence[Draw]]]) -> None:
        wanted: list[Wanted] = []
        # the first draw of every group, then the second: completions of a kind share prefixes and batches
        for turn in range(max((len(draws) for _, draws in asked), default=0)):
            for group, draws in asked:
                if turn < len(draws):
                    wanted.append(self._wanted(step, group, draws[turn], wanted))
        found = self._sampler(wanted)
        chains = [
            self._chain(one, number, drawn)
            for one, listed in zip(wanted, found, strict=True)
            for number, drawn in zip(one.numbers, listed, strict=True)
        ]
        self._judge_all([chain for chain, judged in chains if judged])
        for chain, _ in chains:
            owner = next(group for group, _ in asked if group.place == chain.group)
            owner.chains.append(chain)

    def _wanted(self, step: int, group: Group, draw: Draw, others: Sequence[Wanted]) -> Wanted:
        earlier = [chain for chain in (*group.before, *group.chains) if chain.source == draw.source]
        asked = sum(one.draw.n for one in others if one.group is group and one.draw.source == draw.source)
        numbers = range(len(earlier) + asked, len(earlier) + asked + draw.n)
        seeds = tuple(seed_from(self._recipe.seed, step, group.place, draw.purpose, number) for number in numbers)
        return Wanted(group=group, draw=draw, numbers=numbers, seeds=seeds)

    def _chain(self, wanted: Wanted, number: int, drawn: Drawn) -> tuple[Chain, bool]:
        draw, ids = wanted.draw, drawn.token_ids
        learned = draw.learned_ids
        under_its_own = learned is None
        chain = Chain(
            source=draw.source,
            group=wanted.group.place,
            index=wanted.group.index,
            sample_index=number,
            prompt_ids=draw.prompt_ids if learned is None else learned,
            token_ids=tuple(ids),
            text=self._tokenizer.decode(ids, skip_special_tokens=True),
            finish_reason="stop" if ids and ids[-1] in self._ends else "length",
            drawn_under=draw.drawn_under,
            learned_under=draw.learned_under,
            attempt=wanted.group.attempt,
            # what it was under another prompt says nothing of what is learned
            sum_logprob=drawn.sum_logprob if under_its_own else None,
            sampler_logprobs=drawn.logprobs if under_its_own else None,
        )
        return chain, draw.judged

    def _judge_all(self, chains: Sequence[Chain]) -> None:
        cut = [one.finish_reason == "length" for one in chains]
        verdicts = self._judge.judge([one.text for one in chains], [one.index for one in chains], cut)
        for one, verdict in zip(chains, verdicts, strict=True):
            one.status, one.reward = verdict.status, reward(verdict)
            if one.drawn_under != "solve":
                problem = self._problems[one.index]
                one.leaks_answer = leaks_answer(one.text, question=problem.question, gold=problem.answer)


class Writer:
    """The policy that writes what a method draws `by_writer`, where that is not the policy of the step."""

    def __init__(self, policy: str, refresh_every: int, load_base: Callable[[], Any]) -> None:
        self._policy, self._refresh_every, self._load_base = policy, refresh_every, load_base
        self._copy: Any = None

    @property
    def is_live(self) -> bool:
        """Whether the policy of the step itself writes."""
        return self._policy == "step"

    def model_of(self, step: int, policy: Any) -> Any:
        """Return who writes at this step."""
        if self._policy == "base":
            self._copy = self._copy or self._load_base()
        elif self._copy is None or step % self._refresh_every == 0:
            self._copy = copy.deepcopy(policy)
            for module in self._copy.modules():
                # TRL puts a forward into the object that keeps hold of the model it was made for
                module.__dict__.pop("forward", None)
        return self._copy
