"""SFT on the benchmark's solutions."""

from typing import Any

from expo_bench.trainers.methods.rounds import OfProblem, RoundsMethod
from expo_bench.trainers.recipe_fields import RecipeFields


class SftExpert(RoundsMethod):
    """The likelihood of the benchmark's solutions is raised; nothing is drawn."""

    @classmethod
    def needs_solutions(cls, recipe: RecipeFields) -> bool:
        """Tell that it does; see `Method`."""
        return True

    @classmethod
    def rows(cls, one: OfProblem) -> list[dict[str, Any]]:
        """Return sequences; see `RoundsMethod`."""
        return one.sequences(one.expert())
