"""What a training step learns from: the chains of one problem, members of its group or beside it."""

from dataclasses import dataclass, field
from typing import Any

from expo_bench.rows import FinishReason, Problem, Role, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Completions that a method wants of one prompt."""

    source: str
    """What they are: own, self_explanation, hint, hinted ..."""
    prompt_ids: list[int]
    n: int
    purpose: str
    """Seeds come from it, so that draws of one kind do not depend on those of another."""
    learned_ids: list[int] | None = None
    """The prompt under which they are learned; None: the one under which they are drawn."""
    drawn_under: str = "solve"
    learned_under: str = "solve"
    """Names of the two prompts, for the record."""
    by_writer: bool = False
    """Written by the method's writer (`OnlineMethod.writer`) in place of the policy of the step."""
    judged: bool = True
    """Whether a completion holds a final answer; a hint holds none."""


@dataclass(slots=True, kw_only=True)
class Chain:
    """A chain of thought with its answer, and what becomes of it in the step."""

    source: str
    group: int
    """Place of the problem in the step, over all processes."""
    index: int
    """The problem's index among the training problems."""
    sample_index: int
    """Counts the chains of one source in a group, over all attempts."""
    prompt_ids: list[int]
    """The prompt under which it is learned."""
    token_ids: tuple[int, ...]
    """End-of-sequence included."""
    text: str
    finish_reason: FinishReason | None
    drawn_under: str | None = None
    """None for a text from elsewhere."""
    learned_under: str = "solve"
    attempt: int = 0
    role: Role = "discarded"
    """What the step makes of it; a chain that no method seats is discarded."""
    status: Status = "graded"
    reward: float | None = None
    """The verdict's: 1, 0, or None where nobody can tell; a method may learn from another."""
    leaks_answer: bool | None = None
    advantage: float | None = None
    weight: float | None = None
    """Share of its group's auxiliary term; None for members, 0 for a chain beside them that is not used."""
    sum_logprob: float | None = None
    """Under the policy of the step and the prompt under which it is learned, in nats; None until it is known."""
    sampler_logprobs: list[float | None] | None = None
    """Of each token, by a sampler that TRL corrects for; None elsewhere."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What a method notes of it between two hooks."""

    @property
    def is_right(self) -> bool:
        """Whether its final answer is known to be right."""
        return self.reward == 1.0


@dataclass(slots=True, kw_only=True)
class Group:
    """One problem of a step, and all chains that were made for it."""

    place: int
    """In the step, over all processes."""
    index: int
    problem: Problem
    attempt: int = 0
    """How many problems stood in this place before."""
    chains: list[Chain] = field(default_factory=list)
    """Of the problem that stands here now, in the order in which they were drawn."""
    before: list[Chain] = field(default_factory=list)
    """Those of the problems that it replaced."""

    def of(self, source: str) -> list[Chain]:
        """Return the present problem's chains of one source."""
        return [chain for chain in self.chains if chain.source == source]

    @property
    def members(self) -> list[Chain]:
        """The chains with a reward and an advantage, `num_generations` of them once they are seated."""
        return [chain for chain in self.chains if chain.role == "member"]

    @property
    def beside(self) -> list[Chain]:
        """The chains of the auxiliary term, used or not."""
        return [chain for chain in self.chains if chain.role == "beside"]

    def seat(self, chains: list[Chain], role: Role = "member") -> None:
        """Give chains their role; those that were made elsewhere, as an expert's, join the group's."""
        for chain in chains:
            chain.role = role
            if not any(chain is one for one in self.chains):
                self.chains.append(chain)
