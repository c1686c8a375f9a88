"""DAPO: groups that are all alike are drawn again, long chains pay, likely tokens may grow more."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod, known
from expo_bench.trainers.methods.chains import Chain, Group


class Dapo(OnlineMethod):
    """GRPO on groups with right and wrong completions only: another problem takes the place of one without both.

    A_i as GRPO's, of R_i plus a length penalty: 0 up to L - B tokens, then falling linearly to -`overlong_penalty` at
    L = `max_tokens`, B = `overlong_buffer` L. The ratio is clipped at 1 - 0.2 and 1 + 0.28, and each token of the batch
    counts alike. After `most_attempts` problems in one place the last one stays; in the paper there is no such limit,
    and right and wrong are 1 and -1. The paper makes 16 updates of a batch, here it is 4 unless `minibatches` says so.
    All that is drawn is counted, the problems that were replaced too.

    Source: arXiv 2503.14476.
    """

    class Settings(Section):
        """When to draw again, and what length costs."""

        most_attempts: int = Field(default=4, ge=1)
        """Problems that may stand in one place of a step, one after the other."""
        overlong_buffer: float = Field(default=0.2, ge=0, le=1)
        """Share of `max_tokens` over which the penalty grows; 0: none. The paper's is 4096 of 20480."""
        overlong_penalty: float = Field(default=1.0, ge=0)

    trl: ClassVar[Mapping[str, Any]] = {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28}
    defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 4}

    def __init__(self, settings: Any, tools: Any) -> None:
        super().__init__(settings, tools)
        self.most_attempts = settings.most_attempts

    @classmethod
    def drawn_at_most(cls, settings: Any, num_generations: int) -> dict[str, int]:
        """Return what is drawn for a place; see `OnlineMethod`."""
        return {"own": num_generations * settings.most_attempts}

    def replaces(self, group: Group) -> bool:
        """Tell whether all completions are right, or none."""
        return len(set(known([chain.reward for chain in group.of("own")]))) < 2

    def rewards(self, group: Group) -> list[float | None]:
        """Return right or not, less what the length costs."""
        return [None if one.reward is None else one.reward - self._cost(one) for one in group.members]

    def _cost(self, chain: Chain) -> float:
        buffer = self.settings.overlong_buffer * self.tools.max_tokens
        over = len(chain.token_ids) - (self.tools.max_tokens - buffer)
        return float(self.settings.overlong_penalty * min(1.0, over / buffer)) if buffer and over > 0 else 0.0
