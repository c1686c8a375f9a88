"""How many answers are right so far, told while they are judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expo_bench.evaluation.planning import Progress


@dataclass(slots=True)
class Tally:
    """Counts verdicts; read from other threads."""

    right: int = 0
    judged: int = 0
    """Those of which somebody can tell; where the gold answer is bad, nobody can."""

    def told(self) -> str:
        """Return the share of right answers, empty where there is none yet."""
        return f"{self.right / self.judged:.1%} right" if self.judged else ""


def counting(progress: "Progress", total: int, stage: str = "grading") -> Callable[[bool | None], None]:
    """Begin a stage that grades `total` samples; what is returned is called with each verdict."""
    tally = Tally()
    advance = progress.start(stage, total, 0, tally)

    def count(correct: bool | None) -> None:
        if correct is not None:
            tally.right, tally.judged = tally.right + correct, tally.judged + 1
        advance(0)

    return count
