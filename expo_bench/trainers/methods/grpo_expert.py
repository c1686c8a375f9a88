"""GRPO with expert chains: the rival of ExP-GRPO that learns from somebody else's solutions."""

from collections.abc import Sequence
from typing import Any

from expo_bench.trainers.methods.base import OnlineMethod, Pass
from expo_bench.trainers.methods.chains import Group
from expo_bench.trainers.methods.terms import (
    TermSettings,
    Warner,
    check_temperature,
    likelihood,
    scheduled,
    share_weights,
)
from expo_bench.trainers.recipe_fields import RecipeFields


class GrpoExpert(OnlineMethod):
    """GRPO, and the likelihood of the benchmark's own solution is raised beside it.

    J = J_GRPO + weight(step) * mean over the step's groups of log pi(solution | question), a mean over the solution's
    tokens or their sum. The solution is no member of the group. One that is longer than `max_tokens` is not used.

    Source: the baseline "GRPO + SFT" of arXiv 2507.02834.
    """

    section = "expo"

    class Settings(TermSettings):
        """The term; there is no filter: an expert's chain need only be whole."""

    def __init__(self, settings: Any, tools: Any) -> None:
        super().__init__(settings, tools)
        self._warner = Warner(settings.warn_after)

    @classmethod
    def check(cls, recipe: RecipeFields) -> None:
        """See that the recipe fits; see `Method.check`."""
        settings: Any = recipe.settings
        check_temperature(recipe, settings.weight)

    @classmethod
    def needs_solutions(cls, recipe: RecipeFields) -> bool:
        """Tell whether the term counts; see `Method`."""
        settings: Any = recipe.settings
        return bool(settings.weight)

    @classmethod
    def beside_at_most(cls, settings: Any) -> int:
        """Return the chains that are learned from; see `OnlineMethod`."""
        return 1 if settings.weight else 0

    def seat(self, group: Group) -> None:
        """Seat the own completions in the group, and the solution beside it."""
        super().seat(group)
        expert = self.tools.expert(group) if self.settings.weight else None
        share_weights(group, [expert] if expert else [], (), self.settings.scope)

    def coefficient(self) -> float:
        """Return the weight of this step."""
        return scheduled(self.settings, self.tools.progress)

    def term(self, done: Pass) -> Any:
        """Return the solutions' likelihood."""
        return likelihood(done, self.settings.normalise)

    def warning(self, groups: Sequence[Group]) -> str | None:
        """Tell where no solution can be used."""
        return self._warner.warning(groups, ()) if self.settings.weight else None
