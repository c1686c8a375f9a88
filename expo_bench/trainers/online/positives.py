"""Chains that the auxiliary term learns from: the policy's self-explanations, or expert chains."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from expo_bench.engines.rendering import chain_ids
from expo_bench.likelihood.chains import leaks_answer
from expo_bench.rows import FinishReason, Problem, Status
from expo_bench.trainers.recipe import ExpoTerm
from expo_bench.trainers.rewards import GoldAnswerReward, reward


@dataclass(slots=True, kw_only=True)
class Positive:
    """A chain of one group, and what becomes of it in the step."""

    source: Literal["self_explanation", "expert"]
    group: int
    """Place of the problem in the step."""
    index: int
    """The problem's index among the training problems."""
    sample_index: int
    prompt_ids: list[int]
    """The solve prompt, which does not show the answer."""
    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason | None
    status: Status = "graded"
    reward: float | None = None
    leaks_answer: bool | None = None
    weight: float = 0.0
    """Share of its group's term; 0: not used."""
    sum_logprob: float | None = field(default=None)
    """Under the policy of the step, which does not see the answer; None where it was not measured."""


def explanations(
    found: Sequence[Sequence[Sequence[int]]],
    *,
    first_group: int,
    indexes: Sequence[int],
    solve_ids: Sequence[list[int]],
    tokenizer: Any,
    ends: Collection[int],
) -> list[Positive]:
    """Return the self-explanations of a step's groups as chains.

    Args:
        found: token ids of each group's explanations, end-of-sequence included.
        first_group: place of the first of these groups in the step.
        indexes: the groups' problems.
        solve_ids: their prompts that do not show the answer.
        tokenizer: decodes.
        ends: the ids that end a sequence.
    """
    return [
        Positive(
            source="self_explanation",
            group=first_group + local,
            index=indexes[local],
            sample_index=number,
            prompt_ids=solve_ids[local],
            token_ids=tuple(ids),
            text=tokenizer.decode(ids, skip_special_tokens=True),
            finish_reason="stop" if ids and ids[-1] in ends else "length",
        )
        for local, listed in enumerate(found)
        for number, ids in enumerate(listed)
    ]


def expert_chains(
    problems: Sequence[Problem],
    *,
    first_group: int,
    indexes: Sequence[int],
    solve_ids: Sequence[list[int]],
    tokenizer: Any,
    max_tokens: int,
) -> list[Positive]:
    """Return the solutions of the groups' problems as chains, where the benchmark has them; arguments as above.

    One that is longer than `max_tokens` is cut and counts as truncated.
    """
    chains = []
    for local, index in enumerate(indexes):
        text = problems[index].solution
        if text:
            ids = chain_ids(tokenizer, text)
            chains.append(
                Positive(
                    source="expert",
                    group=first_group + local,
                    index=index,
                    sample_index=0,
                    prompt_ids=solve_ids[local],
                    token_ids=ids[:max_tokens],
                    text=text,
                    finish_reason="length" if len(ids) > max_tokens else None,
                    reward=1.0,
                )
            )
    return chains


def judge_explanations(positives: Sequence[Positive], problems: Sequence[Problem], judge: GoldAnswerReward) -> None:
    """Set status, reward and leaks_answer of self-explanations."""
    verdicts = judge.judge([one.text for one in positives], [one.index for one in positives])
    for one, verdict in zip(positives, verdicts, strict=True):
        problem = problems[one.index]
        one.status, one.reward = verdict.status, reward(verdict)
        one.leaks_answer = leaks_answer(one.text, question=problem.question, gold=problem.answer)


def filter_fault(filters: Collection[str], *, truncated: bool, reaches: bool | None, leaks: bool | None) -> str | None:
    """Return why a chain may not be learned from; None where it may. A truncated one never may."""
    if truncated:
        return "truncated"
    if "reaches_answer" in filters and not reaches:
        return "does not reach the answer"
    if "no_leak" in filters and leaks:
        return "leaks the answer"
    return None


def passes(one: Positive, term: ExpoTerm) -> bool:
    """Return whether the term may learn from this chain; expert chains need only be whole."""
    filters = () if one.source == "expert" else term.filter
    truncated = one.finish_reason == "length"
    return filter_fault(filters, truncated=truncated, reaches=one.reward == 1.0, leaks=one.leaks_answer) is None


def share_weights(positives: Sequence[Positive], term: ExpoTerm, solved: set[int]) -> None:
    """Give the chains that pass the filter equal shares of their group's term.

    Args:
        positives: of one step.
        term: its filter and scope.
        solved: groups with an own rollout that is right.
    """
    skipped = solved if term.scope == "no_positive" else set()
    used = [one for one in positives if passes(one, term) and one.group not in skipped]
    sizes: dict[int, int] = {}
    for one in used:
        sizes[one.group] = sizes.get(one.group, 0) + 1
    for one in used:
        one.weight = 1.0 / sizes[one.group]


def widened(
    ids: torch.Tensor, mask: torch.Tensor, n_before: int, chains: Sequence[Positive], pad_id: int
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Add a row for each chain to a batch of prompts, padded left, and completions, padded right.

    Args:
        ids: token ids (B, P + C); B may be 0.
        mask: attention mask of the same shape.
        n_before: P.
        chains: N of them.
        pad_id: fills the gaps.

    Returns:
        Ids and mask (B + N, P' + C'), and C', with the smallest P' and C' that hold everything.
    """
    rows, length = len(ids), ids.shape[1] - n_before
    before = max(n_before, *(len(one.prompt_ids) for one in chains))
    kept = max(length, *(len(one.token_ids) for one in chains))
    shape = (rows + len(chains), before + kept)
    wide, seen = ids.new_full(shape, pad_id), mask.new_zeros(shape)
    own = (slice(0, rows), slice(before - n_before, before + length))
    wide[own], seen[own] = ids, mask
    for row, one in enumerate(chains, start=rows):
        at = slice(before - len(one.prompt_ids), before + len(one.token_ids))
        wide[row, at] = torch.tensor([*one.prompt_ids, *one.token_ids], device=ids.device)
        seen[row, at] = 1
    return wide, seen, kept
