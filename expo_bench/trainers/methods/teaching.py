"""Advantages of tokens from a policy that sees more."""

from collections.abc import Sequence
from typing import Any

from expo_bench.trainers.methods.base import Pass, Tools
from expo_bench.trainers.methods.chains import Chain


def set_teacher(tools: Tools, pairs: Sequence[tuple[Chain, list[int]]]) -> None:
    """Note of each chain the log-probabilities of its tokens under the prompt beside it."""
    scored = tools.score([chain for chain, _ in pairs], [prompt for _, prompt in pairs])
    for (chain, _), logprobs in zip(pairs, scored, strict=True):
        chain.kept["teacher"] = logprobs


def taught(done: Pass, advantages: Any, settings: Any) -> Any:
    """Return weight * (teacher - policy) for each token (B, T), within `clip`; plus (B,) where the reward counts too.

    Chains that nobody teaches have 0, or the reward's advantage.
    """
    import torch

    teacher = done.logprobs.clone()
    for row, one in enumerate(done.members):
        found = one.kept.get("teacher")
        if found is not None:
            teacher[row, : len(found)] = found
    said = settings.weight * (teacher - done.logprobs).clamp(-settings.clip, settings.clip)
    return said + advantages[:, None] if settings.reward else torch.as_tensor(said)
