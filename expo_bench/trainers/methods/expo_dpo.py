"""ExP-DPO: self-explanations, preferred to what the policy wrote by itself."""

from typing import Any

from expo_bench.trainers.methods.rounds import OfProblem, RoundsMethod


class ExpoDpo(RoundsMethod):
    """The policy explains the gold answer to itself, and DPO prefers that explanation to its own wrong samples.

    With one round all chains come from the base (offline), with more from the policy so far (online).

    Source: ExPO, arXiv 2507.02834; DPO, arXiv 2305.18290, equation 7.
    """

    section = "expo"
    sources = ("self_explanation", "own")
    trainer = "dpo"
    sections = ("expo", "preference")

    @classmethod
    def rows(cls, one: OfProblem) -> list[dict[str, Any]]:
        """Return pairs; see `RoundsMethod`."""
        return one.pairs(one.passing("self_explanation"), one.rejected())
