"""Every chain that a training step drew or learned from, appended to rollouts.jsonl when the step is taken."""

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate.utils import gather_object

from expo_bench.grading.judge import Verdict
from expo_bench.rows import FinishReason, Problem, Rollout
from expo_bench.storage.row_files import Appender
from expo_bench.trainers.folder import TrainingFolder
from expo_bench.trainers.online.positives import Positive
from expo_bench.trainers.rewards import reward


@dataclass(slots=True, kw_only=True)
class Own:
    """A rollout of a group."""

    group: int
    index: int
    """The problem's index among the training problems."""
    sample_index: int
    text: str
    n_tokens: int
    finish_reason: FinishReason
    sum_logprob: float | None
    """Under the policy of the step; None until it is known."""
    verdict: Verdict
    advantage: float


class Recorder:
    """Holds the chains of the step until it is taken: only then is the likelihood of all of them known."""

    def __init__(self, folder: TrainingFolder, problems: Sequence[Problem], is_main: bool) -> None:
        self._problems = problems
        self._rows = Appender(folder.rollouts_path) if is_main else None
        self._own: list[Own] = []
        self._positives: list[Positive] = []
        self._step = 0

    def begin(self, step: int, own: list[Own], positives: list[Positive]) -> None:
        """Take the chains of a step."""
        self._step, self._own, self._positives = step, own, positives

    def take(self) -> list[Rollout]:
        """Write the rows of the step, those of all processes, in the main one; return them."""
        rows = gather_object([*map(self._of_own, self._own), *map(self._of_positive, self._positives)])
        rows.sort(key=lambda row: (row.group, row.source, row.sample_index))
        self._own, self._positives = [], []
        if self._rows:
            self._rows.append(rows)
        return rows  # type: ignore[no-any-return]

    def _of_own(self, own: Own) -> Rollout:
        problem = self._problems[own.index]
        return Rollout(
            step=self._step,
            group=own.group,
            problem_id=problem.problem_id,
            level=problem.level,
            source="own",
            sample_index=own.sample_index,
            text=own.text,
            n_tokens=own.n_tokens,
            finish_reason=own.finish_reason,
            sum_logprob=own.sum_logprob,
            status=own.verdict.status,
            reward=reward(own.verdict),
            advantage=own.advantage,
            weight=None,
            leaks_answer=None,
        )

    def _of_positive(self, one: Positive) -> Rollout:
        problem = self._problems[one.index]
        return Rollout(
            step=self._step,
            group=one.group,
            problem_id=problem.problem_id,
            level=problem.level,
            source=one.source,
            sample_index=one.sample_index,
            text=one.text,
            n_tokens=len(one.token_ids),
            finish_reason=one.finish_reason,
            sum_logprob=one.sum_logprob,
            status=one.status,
            reward=one.reward,
            advantage=None,
            weight=one.weight,
            leaks_answer=one.leaks_answer,
        )
