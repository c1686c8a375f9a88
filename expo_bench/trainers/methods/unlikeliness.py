"""Unlikeliness reward: of right completions, the less likely ones count more."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any, ClassVar

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod, known, told
from expo_bench.trainers.methods.chains import Group


class Unlikeliness(OnlineMethod):
    """GRPO on rewards that fall with the likelihood of a completion within its group, so that rare solutions survive.

    r_i = R_i (1 - `discount` rank_i / G), rank 0 for the least mean log-probability of a token; A as GRPO's with 1e-6
    in place of 1e-4. The paper passes twice over a batch and keeps a divergence of weight 0.1 (`trl.beta`).

    Source: arXiv 2506.02355.
    """

    class Settings(Section):
        """What likelihood costs."""

        discount: float = Field(default=0.25, ge=0, le=1)

    trl: ClassVar[Mapping[str, Any]] = {"beta": 0.1}
    defaults: ClassVar[Mapping[str, Any]] = {"iterations": 2}

    def rewards(self, group: Group) -> list[float | None]:
        """Return the discounted rewards."""
        members = group.members
        sums = [chain.sum_logprob for chain in members]
        if any(one is None for one in sums):
            scored = self.tools.score(members, [chain.prompt_ids for chain in members])
            sums = [float(one.sum()) for one in scored]
        means = [(one or 0.0) / max(1, len(chain.token_ids)) for one, chain in zip(sums, members, strict=True)]
        order = sorted(range(len(members)), key=means.__getitem__)
        ranks = {at: rank for rank, at in enumerate(order)}
        share: Any = self.settings.discount / len(members)
        return [
            None if chain.reward is None else chain.reward * (1 - share * ranks[at]) for at, chain in enumerate(members)
        ]

    def advantages(self, rewards: Sequence[float | None]) -> list[float] | None:
        """Return (R - mean) / (std + 1e-6)."""
        found = known(rewards)
        if len(found) < 2:
            return [0.0] * len(rewards)
        middle, spread = mean(found), stdev(found)
        return told(rewards, lambda reward: (reward - middle) / (spread + 1e-6))
