"""GRPO with expert chains: the rival of ExP-GRPO that learns from somebody else's solutions."""

from typing import Any

from expo_bench.trainers.methods.chains import Group
from expo_bench.trainers.methods.terms import TermMethod, TermSettings
from expo_bench.trainers.recipe_fields import RecipeFields


class GrpoExpert(TermMethod):
    """GRPO, and the likelihood of the benchmark's own solution is raised beside it.

    J = J_GRPO + weight(step) * mean over the step's groups of log pi(solution | question), a mean over the solution's
    tokens or their sum. The solution is no member of the group. One that is longer than `max_tokens` is not used.

    Source: the baseline "GRPO + SFT" of arXiv 2507.02834.
    """

    class Settings(TermSettings):
        """The term; there is no filter: an expert's chain need only be whole."""

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
        expert = self.tools.expert(group) if self.settings.weight else None
        self.seat_beside(group, [expert] if expert else [])
