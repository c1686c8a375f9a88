"""SDPO: a right completion of the group, shown to the policy, teaches it on the others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod, Pass
from expo_bench.trainers.methods.chains import Chain, Group
from expo_bench.trainers.methods.teaching import set_teacher, taught


class Sdpo(OnlineMethod):
    """Each token's advantage is how much likelier it is for the policy that sees a right completion of the group.

    A_t = log pi(y_t | q, success, y_<t) - log pi(y_t | q, y_<t), within `clip`, times `weight`. A right completion is
    shown another one than itself; where there is none, nothing is learned of it. With `reward: true` GRPO's advantage
    is added. It learns nothing where no completion is right.

    Source: arXiv 2601.20802, at sampled tokens as TRL's experimental trainer; its teacher is a moving average of the
    policy (0.05), here the policy of the step.
    """

    class Settings(Section):
        """How much the teacher says."""

        weight: float = Field(default=1.0, ge=0)
        clip: float = Field(default=2.0, gt=0)
        """Nats."""
        reward: bool = False

    def prepare(self, groups: Sequence[Group]) -> None:
        """Score the members under the prompt that shows a right completion."""
        pairs = []
        for group in groups:
            for one in group.members:
                others = [other for other in group.members if other.is_right and other is not one]
                if others:
                    pairs.append((one, self._prompt(group, others[0])))
        set_teacher(self.tools, pairs)

    def _prompt(self, group: Group, success: Chain) -> list[int]:
        question = f"{group.problem.question}\n\nA correct solution:\n{success.text}"
        return self.tools.solve_ids(replace(group.problem, question=question))

    def has_no_ratio(self, chain: Chain) -> bool:
        """Tell that a token's advantage is that of the policy as it is now."""
        return True

    def token_advantages(self, done: Pass, advantages: Any) -> Any:
        """Return what the teacher says of each token."""
        return taught(done, advantages, self.settings)
