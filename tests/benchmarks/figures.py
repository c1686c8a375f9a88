"""What a benchmark found: one row of the table that `make bench` prints."""

import importlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A ratio to a yardstick, from turns that alternate."""

    what: str
    yardstick: str
    ratios: Sequence[float]
    """One for each turn; above 1 is more speed, or more time or memory, as `what` says."""
    absolute: str
    """Both sides in units, medians."""
    goal: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return what stands in the table's columns."""
        turns = len(self.ratios)
        spread = f"{min(self.ratios):.2f} to {max(self.ratios):.2f} of {turns}" if turns > 1 else "one turn"
        return (self.what, self.yardstick, f"{statistics.median(self.ratios):.2f}", spread, self.absolute, self.goal)


def against(ours: Sequence[float], theirs: Sequence[float], unit: str, digits: int = 0) -> str:
    """Return both medians in their unit."""
    return f"{statistics.median(ours):,.{digits}f} against {statistics.median(theirs):,.{digits}f} {unit}"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return turn by turn what ours is to theirs."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def figures_of(name: str) -> Sequence[Figure]:
    """Return what the benchmark of that name measures."""
    found: Sequence[Figure] = importlib.import_module(f"tests.benchmarks.{name}").measure()
    return found
