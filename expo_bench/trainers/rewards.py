"""The reward of training: the verdict of the judge that evaluation uses."""

from collections.abc import Sequence

from expo_bench.grading.judge import Attempt, Judge, Verdict
from expo_bench.rows import Grade, Problem, solved


class GoldAnswerReward:
    """Gives the verdicts of completions: what `reward` makes of them is 1, 0, or None where nobody can tell.

    A completion without an answer is wrong, one that was cut off before it gave one too. Time-outs, errors and
    unreadable gold answers are None: TRL then gives them no advantage and leaves them out of the group's mean.
    """

    def __init__(self, problems: Sequence[Problem], judge: Judge) -> None:
        self._problems = problems
        self._judge = judge

    def judge(self, texts: Sequence[str], index: Sequence[int], truncated: Sequence[bool]) -> list[Verdict]:
        """Return the verdicts of texts on the problems at these indexes, as the evaluation gives them.

        Args:
            texts: completions.
            index: the problem of each.
            truncated: whether each was cut off by the token limit.
        """
        attempts = (
            Attempt(gold=self._problems[place].answer, problem=self._problems[place].question, text=text, truncated=cut)
            for text, place, cut in zip(texts, index, truncated, strict=True)
        )
        return list(self._judge.judge_many(attempts))


def reward(verdict: Verdict | Grade) -> float | None:
    """Return 1.0, 0.0 or None; see `GoldAnswerReward`."""
    told = solved(verdict.status, verdict.correct)
    return None if told is None else float(told)
