"""Who writes the self-explanations of a training step, and under which prompt."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from expo_bench.engines.rendering import problem_ids
from expo_bench.evaluation.drawing import seed_from
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem
from expo_bench.trainers.online.slot_sampler import Draw
from expo_bench.trainers.recipe import ExpoTerm


class Explainer:
    """Shows the gold answer to the policy of the step, to a copy made every few steps, or to the base."""

    def __init__(
        self,
        *,
        problems: Sequence[Problem],
        prompt: Prompt,
        tokenizer: Any,
        term: ExpoTerm,
        seed: int,
        load_base: Callable[[], Any],
    ) -> None:
        self._problems, self._prompt, self._tokenizer = problems, prompt, tokenizer
        self._term, self._seed, self._load_base = term, seed, load_base
        self._copy: Any = None

    @property
    def is_live(self) -> bool:
        """Whether the policy of the step itself writes them."""
        return self._term.policy == "step"

    def prompts(self, indexes: Sequence[int]) -> list[list[int]]:
        """Return the prompts that show the gold answer, as token ids."""
        return [problem_ids(self._tokenizer, self._prompt, self._problems[index]) for index in indexes]

    def draws(self, step: int, first_group: int, indexes: Sequence[int]) -> list[Draw]:
        """Return what is to be drawn for the groups of a step; `indexes` are their problems'."""
        return [
            Draw(
                prompt_ids=ids,
                seeds=tuple(seed_from(self._seed, step, group, "explain", n) for n in range(self._term.per_problem)),
            )
            for group, ids in enumerate(self.prompts(indexes), start=first_group)
        ]

    def model_of(self, step: int, policy: Any) -> Any:
        """Return who writes at this step, where that is not the policy of the step."""
        if self._term.policy == "base":
            self._copy = self._copy or self._load_base()
        elif self._copy is None or step % self._term.refresh_every == 0:
            self._copy = copy.deepcopy(policy)
            for module in self._copy.modules():
                # TRL puts a forward into the object that keeps hold of the model it was made for
                module.__dict__.pop("forward", None)
        return self._copy
