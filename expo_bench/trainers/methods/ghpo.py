"""GHPO: where no completion is right, more and more of the solution is shown."""

from typing import Any

from expo_bench.settings import Settings as Section
from expo_bench.settings import Several
from expo_bench.trainers.methods.base import OnlineMethod
from expo_bench.trainers.methods.chains import Draw, Group
from expo_bench.trainers.methods.hints import begun, is_unsolved, under
from expo_bench.trainers.recipe_fields import RecipeFields


class Ghpo(OnlineMethod):
    """A group without a right completion is drawn anew with the first part of the solution, until one is right.

    The parts are `shares` of the benchmark's solution, in characters. The first group with a right completion is
    learned under its prompt; problems without a solution stay as they are. GRPO's advantages.

    Source: arXiv 2507.10628, whose words around the solution's beginning are others.
    """

    class Settings(Section):
        """How much is shown, one after the other."""

        shares: Several[float] = (0.25, 0.5, 0.75)

    @classmethod
    def needs_solutions(cls, recipe: RecipeFields) -> bool:
        """Tell that it does; see `Method`."""
        return True

    @classmethod
    def drawn_at_most(cls, settings: Any, num_generations: int) -> dict[str, int]:
        """Return what is drawn for a problem; see `OnlineMethod`."""
        return {"own": num_generations, "hinted": len(settings.shares) * num_generations}

    def draws_again(self, group: Group) -> list[Draw]:
        """Return completions with the next part of the solution."""
        tried, n = group.of("hinted"), self.tools.num_generations
        turn = len(tried) // n
        if not is_unsolved(group) or any(chain.is_right for chain in tried) or turn == len(self.settings.shares):
            return []
        problem = begun(group.problem, self.settings.shares[turn])
        return [under(self.tools, group, problem, n, kept=True, name="prefix")] if problem else []

    def seat(self, group: Group) -> None:
        """Seat the completions that have a right one among them, else the bare ones."""
        last = group.of("hinted")[-self.tools.num_generations :]
        group.seat(last if any(chain.is_right for chain in last) else group.of("own"))
