"""What the methods are given: prompts as token ids, expert chains, the step, and scores of chains."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch

from expo_bench.engines.rendering import chain_ids, problem_ids
from expo_bench.prompts import Prompt, explain_prompt, solve_prompt
from expo_bench.rows import Problem
from expo_bench.trainers.methods.chains import Chain, Group
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.rewards import GoldAnswerReward, reward


class Policy(Protocol):
    """The trainer, as far as methods see it."""

    state: Any

    def score(self, chains: Sequence[Chain], prompts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Return log-probabilities, without gradients."""
        ...


class Toolbox:
    """Implements `methods.base.Tools`."""

    policy: Policy
    """Set by the trainer."""

    def __init__(self, recipe: Recipe, problems: Sequence[Problem], tokenizer: Any, judge: GoldAnswerReward) -> None:
        self._problems, self._tokenizer, self._judge = problems, tokenizer, judge
        self._solve, self._explain = solve_prompt(recipe.prompt), explain_prompt(recipe.explain_prompt)
        self.num_generations, self.max_tokens = recipe.num_generations, recipe.max_tokens
        self._steps = recipe.steps
        self._experts: dict[int, Chain | None] = {}

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return int(self.policy.state.global_step)

    @property
    def progress(self) -> float:
        """Share of the run's steps that is taken."""
        return self.step / self._steps

    def problem(self, index: int) -> Problem:
        """Return a training problem."""
        return self._problems[index]

    def solve_ids(self, problem: Problem) -> list[int]:
        """Return the solve prompt of a problem, as token ids."""
        return problem_ids(self._tokenizer, self._solve, problem)

    def explain_ids(self, problem: Problem) -> list[int]:
        """Return the prompt that shows the gold answer."""
        return problem_ids(self._tokenizer, self._explain, problem)

    def ids(self, problem: Problem, user: str) -> list[int]:
        """Return a prompt of a method's own, with the system turn of the solve prompt."""
        prompt = Prompt(name="method", user=user, system=self._solve.system, chat=self._solve.chat)
        return problem_ids(self._tokenizer, prompt, problem)

    def expert(self, group: Group) -> Chain | None:
        """Return the benchmark's solution as a chain, judged as all others; one that is too long is cut."""
        if group.index not in self._experts:
            self._experts[group.index] = self._made(group)
        found = self._experts[group.index]
        return found and replace(found, group=group.place, attempt=group.attempt, kept={})

    def _made(self, group: Group) -> Chain | None:
        text = group.problem.solution
        if not text:
            return None
        ids = chain_ids(self._tokenizer, text)
        (verdict,) = self._judge.judge([text], [group.index], [False])
        return Chain(
            source="expert",
            group=group.place,
            index=group.index,
            sample_index=0,
            prompt_ids=self.solve_ids(group.problem),
            token_ids=ids[: self.max_tokens],
            text=text,
            finish_reason="length" if len(ids) > self.max_tokens else None,
            weight=0.0,
            status=verdict.status,
            reward=reward(verdict),
        )

    def score(self, chains: Sequence[Chain], prompts: Sequence[Sequence[int]]) -> list[Any]:
        """Return the log-probabilities of each chain's tokens under a prompt each."""
        return self.policy.score(chains, prompts)
