"""SAGE: where no completion is right, hints that tell more and more, until one is."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod
from expo_bench.trainers.methods.chains import Draw, Group
from expo_bench.trainers.methods.hints import GRADED, LEVELS, hint_draw, hinted, is_unsolved, shown, under


class Sage(OnlineMethod):
    """A group without a right completion is drawn anew under a hint, up to three times, each hint more telling.

    The policy writes the hints from the benchmark's solution, or from the answer where there is none. The first group
    with a right completion takes the place of the bare one, learned under its hint, or with `keep_hint: false` under
    the question alone. GRPO's advantages, the ratio clipped at 1 - 0.2 and 1 + 0.28, two updates of a batch.

    Source: arXiv 2602.03143; its prompts ask for all levels at once, in JSON.
    """

    class Settings(Section):
        """How often to hint."""

        levels: int = Field(default=3, ge=1, le=3)
        keep_hint: bool = True
        """Whether the hint stays in the prompt that is learned."""

    trl: ClassVar[Mapping[str, Any]] = {"epsilon": 0.2, "epsilon_high": 0.28}
    defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 2}

    @classmethod
    def drawn_at_most(cls, settings: Any, num_generations: int) -> dict[str, int]:
        """Return what is drawn for a problem; see `OnlineMethod`."""
        return {"own": num_generations, "hint": settings.levels, "hinted": settings.levels * num_generations}

    def draws_again(self, group: Group) -> list[Draw]:
        """Return the next hint, then completions under it."""
        hints, tried, n = group.of("hint"), group.of("hinted"), self.tools.num_generations
        if not is_unsolved(group) or any(chain.is_right for chain in tried):
            return []
        if len(tried) < n * len(hints):
            problem = hinted(group.problem, hints[-1].text)
            return [under(self.tools, group, problem, n, kept=self.settings.keep_hint, name="hinted")]
        if len(hints) < self.settings.levels:
            return [hint_draw(self.tools, shown(group.problem), GRADED + LEVELS[len(hints)])]
        return []

    def seat(self, group: Group) -> None:
        """Seat the hinted completions that have a right one among them, else the bare ones."""
        last = group.of("hinted")[-self.tools.num_generations :]
        group.seat(last if any(chain.is_right for chain in last) else group.of("own"))
