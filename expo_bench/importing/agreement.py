"""How far our verdicts agree with those that an imported file had of its own."""

from collections import Counter
from dataclasses import dataclass, field

from expo_bench.importing.importing import FILE_GRADER
from expo_bench.rows import TELLING, Grade
from expo_bench.storage.run_folder import RunFolder

NO_ANSWER_SHARE = 0.5
"""Share of samples without an answer above which a line says so: then the file is likely read amiss."""
_MOST_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Verdicts on the samples that both have judged."""

    n: int
    agreed: int
    own_right: int
    right: int
    differing: list[str] = field(default_factory=list)
    """The first few samples on which they differ, a line each."""

    def line(self) -> str:
        """Return the agreement in one line."""
        own, ours = (f"{100 * count / self.n:.1f}" for count in (self.own_right, self.right))
        return (
            f"the file's own score: {own} percent of {self.n} samples; ours: {ours}; "
            f"they agree on {self.agreed} of {self.n}"
        )


def agreement(run: RunFolder, grader: str) -> Agreement | None:
    """Return how far a grader agrees with the file's own verdicts; None where the file has none.

    A sample without an answer is not right; what could not be graded is left out.
    """
    own = {(row.problem_id, row.sample_index): bool(row.correct) for row in run.grades(FILE_GRADER)}
    if not own:
        return None
    told = (row for row in run.grades(grader) if row.status in TELLING and _key(row) in own)
    both = [(row, own[_key(row)]) for row in told]
    if not both:
        return None
    differing = [(row, said) for row, said in both if bool(row.correct) != said]
    return Agreement(
        n=len(both),
        agreed=len(both) - len(differing),
        own_right=sum(said for _, said in both),
        right=sum(bool(row.correct) for row, _ in both),
        differing=[
            f"{row.problem_id}, sample {row.sample_index}: {'right' if said else 'wrong'} in the file, here "
            f"{'right' if row.correct else row.status if row.status != 'graded' else 'wrong'} ({row.extracted!r})"
            for row, said in differing[:_MOST_SHOWN]
        ],
    )


def unanswered(run: RunFolder, grader: str) -> str | None:
    """Return a warning where most samples have no answer; None where not."""
    counts = Counter(row.status for row in run.grades(grader))
    share = counts["no_answer"] / max(1, counts.total())
    if share <= NO_ANSWER_SHARE:
        return None
    return (
        f"in {100 * share:.0f} percent of the samples no answer is found: see whether the completions are what was "
        "read (--map text=PATH), and how they end"
    )


def _key(row: Grade) -> tuple[str, int]:
    return row.problem_id, row.sample_index
