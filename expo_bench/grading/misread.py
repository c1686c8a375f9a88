"""Did the grader understand a run? Samples without an answer, gold answers that cannot be read, with examples."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from expo_bench.grading.judge import Judge
from expo_bench.rows import Status
from expo_bench.storage.run_folder import RunFolder

MOSTLY = 0.5
"""Share of samples from which on a run says so first of all."""
_WORTH_READING = 0.05
_EXAMPLES = 3
_EXAMPLE_LENGTH, _GOLD_LENGTH = 160, 80


@dataclass(slots=True, kw_only=True)
class Misread:
    """What was not understood in a run."""

    n_samples: int = 0
    no_answer: int = 0
    bad_gold: int = 0
    holding_gold: int = 0
    """Samples without an answer whose text holds the gold answer: often a form of answer that is not known here."""
    texts: list[str] = field(default_factory=list)
    """The ends of up to three texts in which no answer was found."""
    golds: list[str] = field(default_factory=list)
    """Up to three gold answers that cannot be read."""

    @property
    def is_worth_telling(self) -> bool:
        """Whether more than one sample in twenty was not understood."""
        return self.no_answer + self.bad_gold > _WORTH_READING * self.n_samples

    def add(self, status: Status, gold: str, text: str) -> None:
        """Count a sample."""
        self.n_samples += 1
        if status == "bad_gold":
            self.bad_gold += 1
            if gold not in self.golds and len(self.golds) < _EXAMPLES:
                self.golds.append(gold)
        elif status == "no_answer":
            self.no_answer += 1
            self.read(gold, text)

    def read(self, gold: str, text: str) -> None:
        """Look into a text without an answer."""
        self.holding_gold += holds_gold(text, gold)
        if len(self.texts) < _EXAMPLES and text.strip():
            self.texts.append(f"… {' '.join(text.split())[-_EXAMPLE_LENGTH:]}")

    def lines(self) -> list[tuple[str, list[str]]]:
        """Return what a reader has to know before the numbers, each with examples; nothing where all is well."""
        found = list[tuple[str, list[str]]]()
        if not self.is_worth_telling:
            return found
        if self.no_answer > MOSTLY * self.n_samples:
            found.append((f"No answer was found in {self._share(self.no_answer)}. Their ends:", self.texts))
        if self.bad_gold > MOSTLY * self.n_samples:
            found.append((f"The gold answer cannot be read for {self._share(self.bad_gold)}, such as:", self.golds))
        if self.holding_gold:
            text = (
                f"{self.holding_gold} of {self.no_answer} samples without an answer hold the gold answer in their "
                "text: the form in which they answer may not be known; see the rules of extraction."
            )
            found.append((text, [] if found else self.texts))
        return found

    def _share(self, count: int) -> str:
        return f"{count} of {self.n_samples} samples ({count / self.n_samples:.0%})"


def misread(run: RunFolder, grader: str) -> Misread | None:
    """Return what a grader did not understand in a run, None where that is less than one sample in twenty.

    Texts are read one after the other, and only where there is something to be told.

    Raises:
        UserError: a file of the run is damaged.
    """
    statuses = Counter[str]()
    unanswered: set[tuple[str, int]] = set()
    unread: dict[str, None] = {}
    for grade in run.grades(grader):
        statuses[grade.status] += 1
        if grade.status == "no_answer":
            unanswered.add((grade.problem_id, grade.sample_index))
        elif grade.status == "bad_gold":
            unread.setdefault(grade.problem_id)
    found = Misread(n_samples=statuses.total(), no_answer=len(unanswered), bad_gold=statuses["bad_gold"])
    if not found.is_worth_telling:
        return None
    golds = {problem.problem_id: problem.answer for problem in run.problems()}
    found.golds = [golds[name] for name in unread if name in golds][:_EXAMPLES]
    for sample in run.samples() if unanswered else ():
        if (sample.problem_id, sample.sample_index) in unanswered:
            found.read(golds.get(sample.problem_id, ""), sample.text)
    return found


def unread_golds(golds: Iterable[str]) -> str | None:
    """Return a line on the gold answers that the grader cannot read, with three of them; None where there are none."""
    given = [gold for gold in golds if gold.strip()]
    with Judge() as judge:
        unread = [gold for gold, is_read in zip(given, judge.readable(given), strict=True) if not is_read]
    if not unread:
        return None
    shown = ", ".join(f"{gold[:_GOLD_LENGTH]!r}" for gold in dict.fromkeys(unread[:_EXAMPLES]))
    return f"{len(unread)} of {len(given)} gold answers cannot be read, so their samples will not be judged: {shown}"


def holds_gold(text: str, gold: str) -> bool:
    """Return whether a gold answer stands in a text, not as a part of a longer number or word."""
    gold = gold.strip()
    at = text.rfind(gold) if gold else -1
    while at >= 0:
        before, after = text[max(0, at - 2) : at], text[at + len(gold) : at + len(gold) + 2]
        joined_before = gold[0].isalnum() and re.search(r"\w\Z|\d[.,]\Z", before)
        joined_after = gold[-1].isalnum() and re.match(r"\w|[.,]\d", after)
        if not joined_before and not joined_after:
            return True
        at = text.rfind(gold, 0, at + len(gold) - 1)
    return False
