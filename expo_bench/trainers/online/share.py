"""How much of a step's gradient is the term's."""

from typing import Any

import torch

from expo_bench.trainers.online.scoring import trained


class TermGradient:
    """The gradient of the term's part of the loss, added up over the passes of a step.

    Each pass costs a backward pass more, and the whole a copy of the trained weights in memory.
    """

    def __init__(self) -> None:
        self._parts: list[torch.Tensor] = []

    def add(self, part: torch.Tensor, model: Any) -> None:
        """Add the gradient of what the term adds to the loss of a pass, whose graph is kept."""
        weights = trained(model)
        found = torch.autograd.grad(part, weights, retain_graph=True, allow_unused=True)
        self._parts = self._parts or [torch.zeros_like(one) for one in weights]
        for kept, one in zip(self._parts, found, strict=True):
            if one is not None:
                kept += one

    def take(self, model: Any, accelerator: Any) -> float:
        """Return the norm of the term's gradient, that of all processes, and begin anew."""
        parts, self._parts = self._parts, []
        if accelerator.num_processes > 1:
            # a process without a chain of the term has to take part
            parts = [accelerator.reduce(one, "mean") for one in parts or map(torch.zeros_like, trained(model))]
        return float(torch.stack([one.float().square().sum() for one in parts]).sum().sqrt()) if parts else 0.0
