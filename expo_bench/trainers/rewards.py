"""The reward of training: the verdict of the judge that evaluation uses."""

from collections.abc import Sequence
from typing import Any

from expo_bench.grading.judge import Attempt, Judge, Verdict
from expo_bench.rows import Grade, Problem


class GoldAnswerReward:
    """A TRL reward function: 1 where the final answer is the gold answer, 0 where not, None where nobody can tell.

    A completion without an answer is wrong. Time-outs, errors and unreadable gold answers are None: TRL then gives
    them no advantage and leaves them out of the group's mean.
    """

    __name__ = "gold_answer"

    def __init__(self, problems: Sequence[Problem], judge: Judge) -> None:
        self._problems = problems
        self._judge = judge
        self.verdicts: list[Verdict] = []
        """Of the last call, in its order."""

    def __call__(self, *, completions: Sequence[Any], index: Sequence[int], **_: Any) -> list[float | None]:
        """Return the rewards of completions of the problems at these indexes."""
        texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
        self.verdicts = self.judge(texts, index)
        return [reward(verdict) for verdict in self.verdicts]

    def judge(self, texts: Sequence[str], index: Sequence[int]) -> list[Verdict]:
        """Return the verdicts of texts on the problems at these indexes."""
        pairs = zip(texts, index, strict=True)
        attempts = (Attempt(gold=self._problems[place].answer, text=text) for text, place in pairs)
        return list(self._judge.judge_many(attempts))


def reward(verdict: Verdict | Grade) -> float | None:
    """Return 1.0, 0.0 or None; see `GoldAnswerReward`."""
    if verdict.status in ("no_answer", "truncated"):
        return 0.0
    return None if verdict.correct is None else float(verdict.correct)
