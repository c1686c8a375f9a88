"""Dr. GRPO: GRPO without its two divisions."""

from collections.abc import Mapping
from typing import Any, ClassVar

from expo_bench.trainers.methods.base import OnlineMethod


class DrGrpo(OnlineMethod):
    """GRPO whose advantages are not divided by the standard deviation, and whose chains not by their own length.

    A_i = R_i - mean(R), and each token counts 1 / (G * max_tokens): neither easy problems nor short wrong chains weigh
    more than others.

    Source: arXiv 2503.20783.
    """

    trl: ClassVar[Mapping[str, Any]] = {"loss_type": "dr_grpo", "scale_rewards": "none"}
