"""Chains as rows of a batch: added to one, and taken off again."""

from collections.abc import Sequence

import torch

from expo_bench.trainers.methods.chains import Chain


def widened(
    ids: torch.Tensor,
    mask: torch.Tensor,
    n_before: int,
    prompts: Sequence[Sequence[int]],
    chains: Sequence[Chain],
    pad_id: int,
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Add a row for each chain to a batch of prompts, padded left, and completions, padded right.

    Args:
        ids: token ids (B, P + C); B may be 0.
        mask: attention mask of the same shape.
        n_before: P.
        prompts: token ids before each chain.
        chains: N of them.
        pad_id: fills the gaps.

    Returns:
        Ids and mask (B + N, P' + C'), and C', with the smallest P' and C' that hold everything.
    """
    rows, length = len(ids), ids.shape[1] - n_before
    before = max(n_before, *map(len, prompts))
    kept = max(length, *(len(one.token_ids) for one in chains))
    shape = (rows + len(chains), before + kept)
    wide, seen = ids.new_full(shape, pad_id), mask.new_zeros(shape)
    own = (slice(0, rows), slice(before - n_before, before + length))
    wide[own], seen[own] = ids, mask
    for row, (prompt, one) in enumerate(zip(prompts, chains, strict=True), start=rows):
        at = slice(before - len(prompt), before + len(one.token_ids))
        wide[row, at] = torch.tensor([*prompt, *one.token_ids], device=ids.device)
        seen[row, at] = 1
    return wide, seen, kept
