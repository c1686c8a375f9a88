"""GSPO: GRPO whose ratio is that of whole chains."""

from collections.abc import Mapping
from typing import Any, ClassVar

from expo_bench.trainers.methods.base import OnlineMethod
from expo_bench.trainers.recipe_fields import RecipeFields


class Gspo(OnlineMethod):
    """The ratio that is clipped is one of the whole chain, the geometric mean of its tokens' ratios.

    s_i = (pi(o_i | q) / pi_old(o_i | q))^(1/|o_i|), J = 1/G sum_i min(s_i A_i, clip(s_i, 1 - 3e-4, 1 + 4e-4) A_i).
    While a batch of rollouts serves one update, s is 1 and this is GRPO: the paper divides a batch into four
    minibatches.

    Source: arXiv 2507.18071.
    """

    trl: ClassVar[Mapping[str, Any]] = {"importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4}
    defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 4}

    @classmethod
    def check(cls, recipe: RecipeFields) -> None:
        """See that there is a ratio; see `Method.check`."""
        if recipe.updates_per_batch == 1:
            raise ValueError("gspo is grpo while a batch of rollouts serves one update: set minibatches or iterations")
