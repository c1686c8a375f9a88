"""Weights in the layout of the processor's bfloat16 products, made once for many tokens.

oneDNN, with which torch multiplies bfloat16 on processors, works on blocks of a weight. `torch.nn.functional.linear`
makes these blocks at every product, which for the few rows of sampling takes about as long as the product itself. torch
has the layout as an operator for its compiler alone (`torch.ops.mkldnn`, no promised interface); where it is missing
the products stay as they are. Values are the same to the last bit.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch.nn import Linear

_SHARE = 1 / 8
"""Of the machine's memory, at most, that the second copy of the weights may take."""
_ROWS = 16
"""For which the layout is made; it is one and the same from 1 to 600."""


@contextmanager
def packed(model: Any) -> Iterator[None]:
    """Multiply by packed copies of a model's weights, as they are now; they may not change meanwhile.

    Nothing is packed on a GPU, in other types than bfloat16, where the copies would take too much memory, or where
    something else has taken a layer's `forward`.
    """
    layers = [one for one in model.modules() if type(one) is Linear and _fits(one)]
    size = sum(one.weight.numel() * one.weight.element_size() for one in layers)
    if not layers or size > _SHARE * _memory() or not _can_pack():
        yield
        return
    try:
        with torch.no_grad():
            for layer in layers:
                vars(layer)["forward"] = partial(_product, _reorder(layer.weight), layer.bias)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _fits(layer: Linear) -> bool:
    weight = layer.weight
    return weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and "forward" not in vars(layer)


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _reorder(weight: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)  # type: ignore[no-any-return]


def _product(weight: torch.Tensor, bias: torch.Tensor | None, given: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(given, weight, bias, "none", [], "")  # type: ignore[no-any-return]


@cache
def _can_pack() -> bool:
    """Tell whether this torch and this processor have the operators, and these give what torch's own product does."""
    given, weight = (torch.arange(64, dtype=torch.bfloat16).reshape(2, 32) % n for n in (3, 5))
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        return torch.equal(_product(_reorder(weight), None, given), given @ weight.T)
    except (AttributeError, RuntimeError):
        return False
