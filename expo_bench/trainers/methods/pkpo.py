"""PKPO: rewards that make policy gradients those of pass@k."""

from collections.abc import Sequence
from math import comb

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod, known, told


class Pkpo(OnlineMethod):
    """Each completion gets what it adds to the chance that one of k is right.

    With c of n right, s_i = R_i C(n-c, k-1) / C(n-1, k-1), and A_i = (n s_i - sum(s)) / (n - 1), the others' mean as
    baseline.

    Source: arXiv 2505.15201, for rewards of 0 and 1, as the code of arXiv 2602.02710 has it.
    """

    class Settings(Section):
        """How many completions make a set."""

        k: int = Field(default=4, ge=1)

    def advantages(self, rewards: Sequence[float | None]) -> list[float] | None:
        """Return the advantages."""
        n, k = len(known(rewards)), self.settings.k
        right = sum(reward > 0 for reward in known(rewards))
        if n < max(2, k):
            return [0.0] * len(rewards)
        each = comb(n - right, k - 1) / comb(n - 1, k - 1)
        return told(rewards, lambda reward: each * (n * (reward > 0) - right) / (n - 1))
