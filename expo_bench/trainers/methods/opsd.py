"""OPSD: the policy that sees the solution teaches the one that does not, on the latter's own chains."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod, Pass
from expo_bench.trainers.methods.chains import Chain, Group
from expo_bench.trainers.methods.hints import shown
from expo_bench.trainers.methods.teaching import set_teacher, taught
from expo_bench.trainers.recipe_fields import RecipeFields


class Opsd(OnlineMethod):
    """Each token of an own chain has an advantage of its own: how much likelier it is for who sees the answer.

    A_t = log pi(y_t | q, privilege, y_<t) - log pi(y_t | q, y_<t), within `clip`, times `weight`: the policy gradient
    of the reverse Kullback-Leibler divergence at the sampled tokens. The teacher is the policy of the step, without
    gradient. With `reward: true` GRPO's advantage is added.

    Source: arXiv 2601.18734, the variant at sampled tokens; its teacher is the first policy, its main loss a
    Jensen-Shannon divergence of whole distributions, its temperature 1.1.
    """

    class Settings(Section):
        """What the teacher sees, and how much it says."""

        privilege: Literal["answer", "solution"] = "solution"
        """solution: the benchmark's, or the answer where there is none."""
        weight: float = Field(default=1.0, ge=0)
        clip: float = Field(default=2.0, gt=0)
        """Nats; the source's is not known to us."""
        reward: bool = False

    @classmethod
    def explains(cls, recipe: RecipeFields) -> bool:
        """Tell that the teacher sees that prompt, where there is no solution at least; see `Method`."""
        return True

    def prepare(self, groups: Sequence[Group]) -> None:
        """Score the members under the prompt that shows more."""
        set_teacher(self.tools, [(one, self._prompt(group)) for group in groups for one in group.members])

    def _prompt(self, group: Group) -> list[int]:
        if self.settings.privilege == "solution" and group.problem.solution:
            return self.tools.solve_ids(shown(group.problem))
        return self.tools.explain_ids(group.problem)

    def has_no_ratio(self, chain: Chain) -> bool:
        """Tell that a token's advantage is that of the policy as it is now."""
        return True

    def token_advantages(self, done: Pass, advantages: Any) -> Any:
        """Return what the teacher says of each token."""
        return taught(done, advantages, self.settings)
