"""What a training run's rollouts say: where rewards vanish, and what was generated for which purpose."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from expo_bench.rows import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroReward:
    """The groups of one level at one step; shares are of groups whose rewards are all known."""

    step: int
    level: int | None
    groups: int
    all_wrong: float
    """Share of groups without a right rollout: GRPO learns nothing from them."""
    all_right: float
    """Share of groups without a wrong rollout: nothing to learn either."""


def zero_reward(rollouts: Iterable[Rollout]) -> list[ZeroReward]:
    """Return the zero-reward ledger by step and level."""
    groups: dict[tuple[int, int, int | None], list[float | None]] = defaultdict(list)
    for row in rollouts:
        # what was drawn again, or in another problem's place, is no draw of its own
        if row.source == "own" and row.attempt == 0:
            groups[row.step, row.group, row.level].append(row.reward)
    found: dict[tuple[int, int | None], list[list[float]]] = defaultdict(list)
    for (step, _, level), rewards in groups.items():
        known = [one for one in rewards if one is not None]
        if len(known) == len(rewards):
            found[step, level].append(known)
    return [
        ZeroReward(
            step=step,
            level=level,
            groups=len(listed),
            all_wrong=sum(not any(rewards) for rewards in listed) / len(listed),
            all_right=sum(all(rewards) for rewards in listed) / len(listed),
        )
        for (step, level), listed in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or 0))
    ]


def generated_tokens(rollouts: Iterable[Rollout]) -> dict[str, int]:
    """Return the tokens that the policy generated, by purpose; expert chains are not generated."""
    counts: dict[str, int] = defaultdict(int)
    for row in rollouts:
        if row.source != "expert":
            counts[row.source] += row.n_tokens
    return dict(counts)
