"""GRPO whose groups without a difference do not learn from the divergence either."""

from collections.abc import Mapping
from typing import Any, ClassVar

from expo_bench.trainers.methods.base import OnlineMethod, known
from expo_bench.trainers.methods.chains import Group


class GrpoMasked(OnlineMethod):
    """GRPO with a divergence from the reference, on the groups alone whose rewards differ.

    Where all completions of a problem are right, or all wrong, advantages are 0, but the divergence (`trl.beta`) would
    still pull the policy back. Here the tokens of such groups do not enter the loss; what it is divided by stays.

    Source: an issue of TRL, huggingface/trl#5588, and arXiv 2505.22257. The weight of the divergence, 0.04, is that of
    arXiv 2402.03300.
    """

    trl: ClassVar[Mapping[str, Any]] = {"beta": 0.04}

    def counts(self, group: Group) -> bool:
        """Tell whether rewards differ."""
        return len(set(known(self.rewards(group)))) > 1
