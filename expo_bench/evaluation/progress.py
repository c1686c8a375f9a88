"""How far a run is: who is told, and how many answers are right so far."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # it would bring numpy to the command line's start
    from expo_bench.engines.base import Gauge


@dataclass(slots=True)
class Tally:
    """Counts verdicts; read from other threads."""

    right: int = 0
    judged: int = 0
    """Those of which somebody can tell; where the gold answer is bad, nobody can."""

    def count(self, correct: bool | None) -> None:
        """Take one verdict in."""
        if correct is not None:
            self.right, self.judged = self.right + correct, self.judged + 1

    def told(self) -> str:
        """Return the share of right answers, empty where there is none yet."""
        return f"{self.right / self.judged:.1%} right" if self.judged else ""


class Told(Protocol):
    """What has a few words to say beside how much of a stage is done."""

    def told(self) -> str:
        """Return them; empty where there are none yet."""
        ...


class Progress(Protocol):
    """Somebody who is told how far the run is."""

    def note(self, text: str) -> None:
        """Take one line that the user should read."""

    def start(
        self, stage: str, total: int, done: int, gauge: "Gauge | None" = None, beside: Told | None = None
    ) -> Callable[[int], None]:
        """Begin a stage of `total` units, `done` of them there; what is returned is called with the tokens of each.

        `gauge` tells what is being written before any unit is whole, `beside` what else is known, such as how many
        answers are right so far (`Tally`).
        """
        ...


def counting(progress: Progress, total: int, stage: str = "grading") -> Callable[[bool | None], None]:
    """Begin a stage that grades `total` samples; what is returned is called with each verdict."""
    tally = Tally()
    advance = progress.start(stage, total, 0, beside=tally)

    def count(correct: bool | None) -> None:
        tally.count(correct)
        advance(0)

    return count
