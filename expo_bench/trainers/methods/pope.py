"""POPE: of each problem, bare groups and groups that are shown the beginning of a solution."""

from typing import Any

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod
from expo_bench.trainers.methods.chains import Draw, Group
from expo_bench.trainers.methods.hints import begun
from expo_bench.trainers.recipe_fields import RecipeFields


class Pope(OnlineMethod):
    """Half of the groups see the beginning of a solution, the others do not: what is learned with it carries over.

    Places of a step take turns, and each place from step to step. Chains are drawn and learned under the prompt of
    their group; the beginning is never learned.

    Source: arXiv 2601.18779, which takes for each problem the shortest beginning, of at most 25%, with which the base
    succeeds once; here `share` is the same for all.
    """

    class Settings(Section):
        """How much is shown."""

        share: float = Field(default=0.25, gt=0, lt=1)
        """Of the solution's characters."""

    @classmethod
    def needs_solutions(cls, recipe: RecipeFields) -> bool:
        """Tell that it does; see `Method`."""
        return True

    def draws(self, group: Group) -> list[Draw]:
        """Return completions of the question, or of it and a part of its solution."""
        now: Any = self.settings
        found = begun(group.problem, now.share) if (group.place + self.tools.step) % 2 == 0 else None
        if found is None:
            return super().draws(group)
        ids, n = self.tools.solve_ids(found), self.tools.num_generations
        return [Draw(source="own", prompt_ids=ids, n=n, purpose="own", drawn_under="prefix", learned_under="prefix")]
