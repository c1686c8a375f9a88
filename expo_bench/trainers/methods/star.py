"""STaR: the policy's right samples, and explanations where it has none."""

from typing import Any

from expo_bench.trainers.methods.rounds import OfProblem, RoundsMethod


class Star(RoundsMethod):
    """SFT on the policy's own right samples, and on self-explanations of the problems where it has none.

    Source: STaR, arXiv 2203.14465, which trains from the base in each round; here a round goes on from the policy so
    far.
    """

    section = "expo"
    sources = ("rationalised", "own")
    sections = ("expo",)

    @classmethod
    def rows(cls, one: OfProblem) -> list[dict[str, Any]]:
        """Return sequences; see `RoundsMethod`."""
        return one.sequences(one.passing("rationalised", "own_correct"))
