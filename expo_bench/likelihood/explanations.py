"""The stage from problems to self-explanations: chains that the policy writes when it is shown the gold answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from expo_bench.config import CandidatesConfig
from expo_bench.evaluation.drawing import Stage, seed_from
from expo_bench.evaluation.sampling import sampling_params
from expo_bench.prompts import explain_prompt
from expo_bench.rows import Problem, PromptKind
from expo_bench.storage.run_folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Explaining(Stage):
    """Self-explanations; the prompt holds `{question}` and `{answer}`."""

    name: ClassVar[str] = "self-explanations"
    doing: ClassVar[str] = "explaining"
    kind: ClassVar[PromptKind] = "self_explain"

    def path(self, run: RunFolder) -> Path:
        """Return the file of the self-explanations."""
        return run.explanations_path

    def keys(self, run: RunFolder) -> Iterator[tuple[str, int]]:
        """Yield those that are there."""
        return ((row.problem_id, row.sample_index) for row in run.explanations())

    def seed_of(self, problem_id: str, index: int) -> int:
        """Return the seed of one self-explanation; independent of the seeds of the plain samples."""
        return seed_from(self.seed, problem_id, "self_explain", index)

    def asked(self, problems: Sequence[Problem]) -> list[Problem]:
        """Return the problems that have a gold answer."""
        return [problem for problem in problems if problem.answer]


def explaining(config: CandidatesConfig) -> Explaining:
    """Return the stage that draws the self-explanations of a run of candidates."""
    return Explaining(
        prompt=explain_prompt(config.explain_prompt),
        params=replace(sampling_params(config), temperature=config.explained_at),
        n=config.per_source,
        seed=config.seed,
    )
