"""The language-model head on the tokens that are scored, and back on those that are learned from."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from trl.kernels import ChunkedLogProbFunction
from trl.trainer import utils

LARGE = 2**15
"""Entries of a vocabulary from which on the head is worth it: below, steps stay those of TRL to the last bit."""


class LearnedTokens(ChunkedLogProbFunction):  # type: ignore[misc]
    """TRL's head, whose way back leaves out the tokens without a gradient: those of groups that are all wrong."""

    @staticmethod
    def backward(ctx: Any, of_logprobs: torch.Tensor | None, of_entropy: torch.Tensor | None, *others: Any) -> Any:
        """Return TRL's gradients; on a GPU, looking for the tokens would hold it up."""
        plain = ChunkedLogProbFunction.backward
        if of_logprobs is None or of_entropy is not None or of_logprobs.device.type != "cpu":
            return plain(ctx, of_logprobs, of_entropy, *others)
        rows = of_logprobs.nonzero().squeeze(-1)
        hidden, weight, bias, targets, log_z, entropy = ctx.saved_tensors
        some = SimpleNamespace(
            saved_tensors=(hidden[rows], weight, bias, targets[rows], log_z[rows], entropy[rows]),
            compute_dtype=ctx.compute_dtype,
            chunk_size=ctx.chunk_size,
            kernel_args=ctx.kernel_args,
            needs_input_grad=ctx.needs_input_grad,
        )
        of_rows, *rest = plain(some, of_logprobs[rows], None)
        if of_rows is None:
            return (None, *rest)
        of_hidden = torch.zeros_like(hidden)
        of_hidden[rows] = of_rows
        return (of_hidden, *rest)


def is_large(vocabulary: int) -> bool:
    """Tell whether passes over so many entries are worth avoiding, and need not be TRL's own."""
    return vocabulary >= LARGE


@contextmanager
def scored_tokens_only(vocabulary: int) -> Iterator[None]:
    """Let TRL project the tokens of completions only, where it has no Triton and would project prompts and padding too.

    TRL asks for Triton to decide which tokens it projects, and again, elsewhere, how: the first answer is changed here.
    """
    asked, head = utils._use_triton, utils._ChunkedLogProbFunction
    if is_large(vocabulary):
        utils._use_triton = lambda device: True
        utils._ChunkedLogProbFunction = LearnedTokens
    try:
        yield
    finally:
        utils._use_triton, utils._ChunkedLogProbFunction = asked, head


def trained(model: torch.nn.Module) -> list[torch.Tensor]:
    """Return the weights that are trained."""
    return [one for one in model.parameters() if one.requires_grad]


def zero_gradient(model: torch.nn.Module) -> torch.Tensor:
    """Return a 0 to go back from, shape (); every trained parameter has a gradient then, as after a way back of zeros.

    AdamW moves a parameter whose gradient is 0 on by its momentum, and leaves one without.
    """
    weights = trained(model)
    for one in weights:
        if one.grad is None:
            one.grad = torch.zeros_like(one)
    return 0.0 * min(weights, key=torch.Tensor.numel).sum()
