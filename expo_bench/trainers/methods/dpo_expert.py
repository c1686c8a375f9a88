"""DPO on the benchmark's solutions: the baseline of ExP-DPO that learns from somebody else's chains."""

from typing import Any

from expo_bench.trainers.methods.rounds import OfProblem, RoundsMethod
from expo_bench.trainers.recipe_fields import RecipeFields


class DpoExpert(RoundsMethod):
    """DPO prefers the benchmark's solution to the policy's own wrong samples.

    Source: a baseline of arXiv 2507.02834; DPO, arXiv 2305.18290, equation 7.
    """

    sources = ("own",)
    trainer = "dpo"
    sections = ("preference",)

    @classmethod
    def needs_solutions(cls, recipe: RecipeFields) -> bool:
        """Tell that it does; see `Method`."""
        return True

    @classmethod
    def rows(cls, one: OfProblem) -> list[dict[str, Any]]:
        """Return pairs; see `RoundsMethod`."""
        return one.pairs(one.expert(), one.rejected())
