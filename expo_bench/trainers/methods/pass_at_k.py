"""Pass@k training: what is rewarded is that one of k completions is right."""

from collections.abc import Sequence
from math import comb, sqrt

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod, known, told


class PassAtK(OnlineMethod):
    """The advantage of a completion is that of the sets of k completions that it is in, in closed form.

    With c of G right: rho = 1 - C(G-c, k) / C(G, k), sigma = sqrt(rho (1 - rho)) + 1e-6; a right one has
    (1 - rho) / sigma, a wrong one (1 - rho - C(G-c-1, k-1) / C(G-1, k-1)) / sigma. Once more than G - k are right every
    set has one, and nothing is learned.

    Source: arXiv 2508.10751.
    """

    class Settings(Section):
        """How many completions make a set."""

        k: int = Field(default=4, ge=1)

    def advantages(self, rewards: Sequence[float | None]) -> list[float] | None:
        """Return the advantages of right and wrong completions."""
        n, k = len(known(rewards)), self.settings.k
        wrong = n - sum(reward > 0 for reward in known(rewards))
        if n < k or wrong == n:
            return [0.0] * len(rewards)
        rho = 1 - comb(wrong, k) / comb(n, k)
        sigma = sqrt(rho * (1 - rho)) + 1e-6
        without = comb(wrong - 1, k - 1) / comb(n - 1, k - 1) if wrong else 0.0
        return told(rewards, lambda reward: (1 - rho - (0 if reward > 0 else without)) / sigma)
