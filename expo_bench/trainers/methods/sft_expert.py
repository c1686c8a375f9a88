"""SFT on the benchmark's solutions."""

from typing import TYPE_CHECKING, Any

from expo_bench.trainers.methods.rounds import OfProblem, RoundsMethod

if TYPE_CHECKING:
    from expo_bench.trainers.recipe import Recipe


class SftExpert(RoundsMethod):
    """The likelihood of the benchmark's solutions is raised; nothing is drawn."""

    @classmethod
    def needs_solutions(cls, recipe: "Recipe") -> bool:
        """Tell that it does; see `Method`."""
        return True

    @classmethod
    def rows(cls, one: OfProblem) -> list[dict[str, Any]]:
        """Return sequences; see `RoundsMethod`."""
        return one.sequences(one.expert())
