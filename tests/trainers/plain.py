"""Rewards for TRL's own trainer, with which ours is compared."""

from expo_bench.grading.judge import Judge
from expo_bench.rows import Problem
from expo_bench.trainers.rewards import GoldAnswerReward, reward


class PlainReward:
    """A reward function of TRL: the judge's verdicts, as our trainer takes them."""

    __name__ = "gold_answer"

    def __init__(self, problems: list[Problem], judge: Judge, ends: set[int]) -> None:
        self._judge, self._ends = GoldAnswerReward(problems, judge), ends

    def __call__(self, *, completions, completion_ids, index, **_) -> list[float | None]:
        """Return the rewards; a completion that does not end in an end of sequence was cut off."""
        texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
        truncated = [ids[-1] not in self._ends for ids in completion_ids]
        return [reward(verdict) for verdict in self._judge.judge(texts, index, truncated)]
