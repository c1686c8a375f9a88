"""MaxRL: the advantages that raise the likelihood of a right answer, not its probability."""

from collections.abc import Sequence

from expo_bench.trainers.methods.base import OnlineMethod, known, told


class Maxrl(OnlineMethod):
    """A right completion counts the more, the rarer it is in its group.

    A_i = (R_i - p) / (p + 1e-6) with p the share that is right, 0 where none is: an unbiased gradient of the expansion
    of log p up to the order of the group's size. Where no completion is right nothing is learned.

    Source: arXiv 2602.02710. Its code averages over the batch's tokens; here each chain's mean counts alike, as in
    GRPO.
    """

    def advantages(self, rewards: Sequence[float | None]) -> list[float] | None:
        """Return (R - p) / (p + 1e-6)."""
        p = sum(known(rewards)) / max(1, len(known(rewards)))
        return told(rewards, lambda reward: (reward - p) / (p + 1e-6) if p else 0.0)
