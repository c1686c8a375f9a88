"""Every chain that a training step drew or learned from, appended to rollouts.jsonl when the step is taken."""

from collections.abc import Sequence

from accelerate.utils import gather_object

from expo_bench.rows import Problem, Rollout
from expo_bench.storage.row_files import Appender
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.methods.chains import Chain, Group


class Recorder:
    """Holds the groups of a batch until its first step is taken: only then is the likelihood of all chains known."""

    def __init__(self, folder: TrainingFolder, problems: Sequence[Problem], is_main: bool) -> None:
        self._problems = problems
        self._rows = Appender(folder.rollouts_path) if is_main else None
        self._groups: list[Group] = []
        self._step = 0

    def begin(self, step: int, groups: list[Group]) -> None:
        """Take the groups of a batch."""
        self._step, self._groups = step, groups

    def take(self) -> list[Rollout]:
        """Write the rows of the batch, those of all processes, in the main one; return them."""
        chains = [chain for group in self._groups for chain in (*group.before, *group.chains)]
        rows = gather_object([self._row(chain) for chain in chains])
        rows.sort(key=lambda row: (row.group, row.source, row.sample_index))
        self._groups = []
        if self._rows:
            self._rows.append(rows)
        return rows  # type: ignore[no-any-return]

    def _row(self, one: Chain) -> Rollout:
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
            advantage=one.advantage,
            weight=one.weight,
            leaks_answer=one.leaks_answer,
            role=one.role,
            attempt=one.attempt,
            drawn_under=one.drawn_under,
            learned_under=one.learned_under,
        )
