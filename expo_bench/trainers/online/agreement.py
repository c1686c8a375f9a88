"""Are the sampler and the loss of one policy? Their likelihoods of the same rollouts, compared."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from expo_bench.errors import UserError
from expo_bench.trainers.methods.chains import Chain

LARGEST_GAP = 0.1
"""Nats a token between the sampler's and the loss's likelihood of a rollout, above which they are not one policy."""


class Agreement:
    """The largest gap between the sampler's and the loss's likelihood of a rollout, in nats a token."""

    def __init__(self, model: torch.nn.Module, temperature: float) -> None:
        """Take the model that is trained, and the temperature by which TRL divides the loss's logits."""
        self.checked = False
        """Whether the first batch was compared."""
        self.drops_out = any(isinstance(one, torch.nn.Dropout) and one.p > 0 for one in model.modules())
        """Whether the loss's pass leaves out what the sampler's does not."""
        self._plain = temperature == 1
        self._gap: float | None = None

    def note(self, chains: Sequence[Chain], sums: torch.Tensor) -> None:
        """Keep the loss's log-probabilities of chains, those of the first pass over them, and compare."""
        for one, value in zip(chains, sums.tolist(), strict=True):
            if "loss" in one.kept:
                continue
            one.kept["loss"] = value
            if one.sum_logprob is None:
                # what is recorded is always the likelihood under the policy itself
                one.sum_logprob = value if self._plain else None
            elif not self.drops_out:
                self._gap = max(self._gap or 0.0, abs(value - one.sum_logprob) / max(1, len(one.token_ids)))

    def compare_padding(
        self, members: Sequence[Chain], score: Callable[[Sequence[Chain], Sequence[Sequence[int]]], torch.Tensor]
    ) -> None:
        """Compare a chain's likelihood alone with that behind padding, where no sampler's own likelihood tells more.

        Args:
            members: of which the one with the shortest prompt is padded to the longest.
            score: log-probabilities (B, T) of chains under a prompt each, without gradients and dropout.
        """
        by_length = sorted(members, key=lambda one: len(one.prompt_ids))
        short, long = by_length[0], by_length[-1]
        sums = []
        for chains in ([short], [short, long]):
            logps = score(chains, [one.prompt_ids for one in chains])
            sums.append(float(logps[0, : len(short.token_ids)].sum()))
        self._gap = abs(sums[0] - sums[1]) / max(1, len(short.token_ids))

    def take(self, accelerator: Any) -> float | None:
        """Return the largest gap since the last call, of all processes; None where nothing was compared.

        Raises:
            UserError: the first batch shows that the sampler and the loss are not of one policy.
        """
        gap, self._gap = self._gap, None
        if accelerator.num_processes > 1:
            gap = float(accelerator.gather(torch.tensor([gap or 0.0], device=accelerator.device)).max())
        if not self.checked and (gap or 0.0) > LARGEST_GAP:
            raise UserError(
                f"the sampler and the loss differ by {gap:.2g} nats a token on the same rollouts: they do not compute "
                "the same policy; positions counted from the left padding, as GPT-2's, are one cause"
            )
        self.checked = True
        return gap
