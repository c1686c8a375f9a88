"""QuestA: the first part of the solution stands behind the question."""

from typing import Any

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod
from expo_bench.trainers.methods.chains import Draw, Group
from expo_bench.trainers.methods.hints import begun
from expo_bench.trainers.recipe_fields import RecipeFields


class Questa(OnlineMethod):
    """GRPO on questions that begin to be answered: less is to find, and right completions come earlier.

    The first `share` of the benchmark's solution, in characters, is shown; after `switch_at` of the run, `later_share`.
    Chains are drawn and learned under that prompt. A problem without a solution is shown as it is.

    Source: arXiv 2507.13266, which runs with 50% and then with 25%, and rejects groups whose share of right completions
    is outside 0.05 to 0.95; that is not done here.
    """

    class Settings(Section):
        """How much is shown."""

        share: float = Field(default=0.5, gt=0, lt=1)
        later_share: float = Field(default=0.25, ge=0, lt=1)
        switch_at: float = Field(default=0.5, ge=0, le=1)

    @classmethod
    def needs_solutions(cls, recipe: RecipeFields) -> bool:
        """Tell that it does; see `Method`."""
        return True

    def draws(self, group: Group) -> list[Draw]:
        """Return completions of the question and a part of its solution."""
        now: Any = self.settings
        found = begun(group.problem, now.share if self.tools.progress < now.switch_at else now.later_share)
        if found is None:
            return super().draws(group)
        ids = self.tools.solve_ids(found)
        n = self.tools.num_generations
        return [Draw(source="own", prompt_ids=ids, n=n, purpose="own", drawn_under="prefix", learned_under="prefix")]
