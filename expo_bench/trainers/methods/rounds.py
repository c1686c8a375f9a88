"""Methods in rounds: the policy draws once a round, rows are made of that, and DPO or SFT learns from them."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

from expo_bench.trainers.methods.base import Method
from expo_bench.trainers.recipe_fields import RecipeFields

_OPTIONAL = ("expo", "preference", "still")


class OfProblem(Protocol):
    """What a round has of one problem; it counts what is left out, and why."""

    def passing(self, *sources: str) -> list[Any]:
        """Return the chains of these sources that pass `expo.filter`, equal ones once."""
        ...

    def expert(self) -> list[Any]:
        """Return the benchmark's solution as a chain, where there is one that fits."""
        ...

    def rejected(self) -> list[Any]:
        """Return the policy's own samples that `preference.rejected` names, equal ones once."""
        ...

    def pairs(self, chosen: Sequence[Any], rejected: Sequence[Any]) -> list[dict[str, Any]]:
        """Return rows of DPO, at most `preference.pairs_per_problem`."""
        ...

    def sequences(self, chains: Sequence[Any]) -> list[dict[str, Any]]:
        """Return rows of SFT."""
        ...


class RoundsMethod(Method):
    """Learns from what was drawn at the start of a round."""

    sources: ClassVar[tuple[str, ...]] = ()
    """What is drawn: sources of `expo-bench candidates`. Empty: nothing is."""
    trainer: ClassVar[Literal["sft", "dpo"]] = "sft"
    sections: ClassVar[tuple[str, ...]] = ()
    """The sections of the recipe that it reads, of expo, preference and still."""

    @classmethod
    def explains(cls, recipe: RecipeFields) -> bool:
        """Tell whether self-explanations are drawn; see `Method`."""
        return bool({"self_explanation", "rationalised"} & set(cls.sources))

    @classmethod
    def rows(cls, one: OfProblem) -> list[dict[str, Any]]:
        """Return what is learned of a problem."""
        raise NotImplementedError

    @classmethod
    def prefers(cls, recipe: RecipeFields, number: int) -> bool:
        """Tell whether round `number` is one of DPO; else it is one of SFT."""
        return cls.trainer == "dpo"

    @classmethod
    def draws_at_most(cls, recipe: RecipeFields) -> tuple[int, int, int]:
        """Return how many rounds draw, and the own samples and self-explanations of each, at most."""
        problems = recipe.prompts_per_step * recipe.steps // recipe.rounds
        own = recipe.num_generations if {"own", "rationalised"} & set(cls.sources) else 0
        explained = recipe.expo.per_problem if cls.explains(recipe) else 0
        return recipe.rounds, problems * own, problems * explained

    @classmethod
    def check(cls, recipe: RecipeFields) -> None:
        """See that the recipe has no section that would do nothing; see `Method.check`."""
        for section in _OPTIONAL:
            given = section in recipe.model_fields_set and getattr(recipe, section) is not None
            if given and section not in cls.sections:
                raise ValueError(f"{section} does nothing in {cls.name()}: take {section} out")
        if recipe.rounds > 1 and not cls.sources:
            raise ValueError(f"rounds belong to methods that draw: {cls.name()} learns from the same in each")
