"""Where graders of a run judge the same samples differently."""

from collections import Counter
from dataclasses import dataclass

from expo_bench.storage.run_folder import RunFolder

_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Two graders of one run."""

    grader: str
    other: str
    n_samples: int
    """Judged by both."""
    only_grader: int
    """Right for the first one alone."""
    only_other: int
    examples: list[str]

    def text(self) -> str:
        """Return it as a sentence."""
        return (
            f"{self.other} judges {self.only_grader + self.only_other} of {self.n_samples} samples otherwise than "
            f"{self.grader}: {self.only_other} are right for it alone, {self.only_grader} for {self.grader} alone."
        )


def disagreements(run: RunFolder, grader: str) -> list[Disagreement]:
    """Return how each other grader of a run judges the samples that one has judged.

    Raises:
        UserError: a file of the run is damaged.
    """
    others = [name for name in run.graders() if name != grader]
    if not others or grader not in run.graders():
        return []
    own = {(row.problem_id, row.sample_index): (row.correct is True, row.extracted) for row in run.grades(grader)}
    golds = {problem.problem_id: problem.answer for problem in run.problems()}
    found = []
    for other in others:
        counts, examples, n_samples = Counter[bool](), list[str](), 0
        for row in run.grades(other):
            key = row.problem_id, row.sample_index
            if key not in own:
                continue
            n_samples += 1
            right, extracted = own[key]
            if right == (row.correct is True):
                continue
            counts[right] += 1
            if len(examples) < _EXAMPLES:
                verdict = "right" if right else "wrong"
                where = f"{verdict} for {grader}; {key[0]}, sample {key[1]}"
                examples.append(f"{golds.get(key[0], '?')} | {extracted or 'no answer'} ({where})")
        found.append(
            Disagreement(
                grader=grader,
                other=other,
                n_samples=n_samples,
                only_grader=counts[True],
                only_other=counts[False],
                examples=examples,
            )
        )
    return found
