"""STILL-2: imitate long thoughts, explore hard problems, learn again from what was right."""

from expo_bench.trainers.methods.rounds import RoundsMethod
from expo_bench.trainers.recipe_fields import RecipeFields


class Still(RoundsMethod):
    """Long thoughts are imitated, then right rollouts on hard problems join them, and SFT or DPO learns again.

    What a round does is the package `trainers/rounds`'s; this is what the rest must know of it.

    Source: STILL-2, arXiv 2412.09413.
    """

    sources = ("own",)
    sections = ("still", "preference")

    @classmethod
    def prefers(cls, recipe: RecipeFields, number: int) -> bool:
        """Tell whether a round is one of DPO: the first one imitates."""
        return recipe.of_still.learn == "dpo" and number > 0

    @classmethod
    def draws_at_most(cls, recipe: RecipeFields) -> tuple[int, int, int]:
        """Return what is drawn; the first round draws nothing."""
        return recipe.rounds - 1, recipe.of_still.problems * recipe.of_still.rollouts, 0

    @classmethod
    def check(cls, recipe: RecipeFields) -> None:
        """See that the section fits; see `Method.check`."""
        if recipe.still is None:
            raise ValueError("still wants the section still, which names its thoughts")
        super().check(recipe)
        given = recipe.still
        # a resolved recipe names all values, so only others than the default can be told from none
        if recipe.num_generations != type(recipe).model_fields["num_generations"].default:
            raise ValueError("still draws still.rollouts: take num_generations out")
        if given.enough > given.rollouts:
            raise ValueError(f"still.enough ({given.enough}) may not exceed still.rollouts ({given.rollouts})")
        if given.thoughts == "micro" and recipe.benchmark != "micro":
            raise ValueError(
                "still.thoughts micro goes with benchmark micro; name a folder of expo-bench thoughts, or a file"
            )
        if given.learn == "dpo" and given.start == "backbone":
            raise ValueError("still.learn dpo wants still.start continued: the backbone writes no thoughts to compare")
        if given.learn == "sft":
            idle = ["preference"] if "preference" in recipe.model_fields_set else []
            idle += ["still.mask"] if given.mask != "thought" else []
            idle += ["still.dpo_learning_rate"] if given.dpo_learning_rate is not None else []
            if idle:
                raise ValueError(f"{idle[0]} belongs to still.learn dpo: take it out")
        if recipe.preference.rejected == "any":
            raise ValueError("still rejects wrong rollouts only: take preference.rejected out")
