"""A key-value cache of slots, one a running sample, and the attention that reads it.

Transformers models take their attention function by name, and hand it whatever keyword the caller gave to the model.
So the cache travels as the keyword `slots`, and no model code is touched. Two things make this faster than the
library's own path: keys and values stay where they are (nothing is concatenated, a prompt's are computed once for all
its samples), and with grouped heads the queries of a group are laid side by side instead of repeating keys and values.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from expo_bench.errors import UserError

ATTENTION = "expo_slots"
_BLOCK = 64
_QUERY_CHUNK = 1024
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")


class Asked(NamedTuple):
    """What a layer of the model asks to attend to."""

    query: torch.Tensor
    """(B, heads, S, D)"""
    key: torch.Tensor
    """(B, kv_heads, S, D)"""
    value: torch.Tensor
    """(B, kv_heads, S, D)"""
    scale: float | None
    window: int | None
    """Positions that a query sees at most, where they are limited."""


class Slots:
    """Keys and values of `n_active` samples, in the first rows of one pair of tensors a layer.

    A pass through the model is either the prefill of one prompt (`begin_prefill`, then `adopt` it into slots) or one
    decoding step of all active slots (`begin_step`).
    """

    def __init__(self, capacity: int) -> None:
        """Keep room for `capacity` slots from the beginning; more may come."""
        self.n_active = 0
        self._capacity = capacity
        self._store: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._prompts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._positions: torch.Tensor | None = None
        self._rows: torch.Tensor | None = None
        self._kv_length = 0
        self._mask: torch.Tensor | None = None

    def begin_prefill(self) -> None:
        """Let the next pass compute one prompt."""
        self._prompts = {}
        self._positions = None

    def adopt(self, length: int, copies: int) -> None:
        """Append `copies` slots that begin with the prompt just computed, `length` positions."""
        first, last = self.n_active, self.n_active + copies
        for layer, pair in self._prompts.items():
            stored = self._reserve(layer, pair, last, length + 1)
            for store, computed in zip(stored, pair, strict=True):
                store[first:last, :, :length] = computed
        self.n_active = last

    def begin_step(self, positions: torch.Tensor, longest: int) -> None:
        """Let the next pass add one token to each active slot, at `positions` (n_active,), the largest `longest`."""
        self._prompts = {}
        self._positions = positions
        self._rows = torch.arange(self.n_active, device=positions.device)
        # rounded up, so that kernels see few different shapes and aligned masks
        self._kv_length = -(-(longest + 1) // _BLOCK) * _BLOCK
        self._mask = None
        for layer, pair in self._store.items():
            self._reserve(layer, pair, self.n_active, self._kv_length)

    def release(self, slot: int) -> None:
        """Free a slot; the last active slot moves into its place."""
        last = self.n_active - 1
        if slot != last:
            for pair in self._store.values():
                for store in pair:
                    store[slot] = store[last]
        self.n_active = last

    def shrink(self, n_active: int) -> None:
        """Keep the first slots only and give the memory of the others back."""
        self.n_active = self._capacity = min(n_active, self.n_active)
        self._prompts = {}
        for layer in list(self._store):
            key, value = self._store[layer]
            self._store[layer] = (key[: self.n_active].clone(), value[: self.n_active].clone())

    def _reserve(
        self, layer: int, like: tuple[torch.Tensor, torch.Tensor], rows: int, length: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        stored = self._store.get(layer)
        if stored is not None and stored[0].shape[0] >= rows and stored[0].shape[2] >= length:
            return stored
        old_rows, old_length = (stored[0].shape[0], stored[0].shape[2]) if stored else (0, 0)
        if length > old_length:
            # by a half at least, so that all copying together stays linear in the final length
            length = -(-max(length, old_length * 3 // 2) // _BLOCK) * _BLOCK
        length, rows = max(length, old_length), max(rows, old_rows, self._capacity)
        pair = []
        for index, computed in enumerate(like):
            # zeros: positions past a slot's end are masked, and a masked NaN would still poison the sum
            store = computed.new_zeros((rows, computed.shape[1], length, computed.shape[3]))
            if stored is not None and self.n_active:
                kept = min(self.n_active, old_rows)
                store[:kept, :, :old_length] = stored[index][:kept]
            pair.append(store)
        self._store[layer] = (pair[0], pair[1])
        return self._store[layer]

    def attend(self, layer: int, asked: Asked) -> torch.Tensor:
        """Attention output (B, heads, S, D)."""
        query, key, value, scale, window = asked
        if self._positions is None:
            self._prompts[layer] = (key, value)
            return causal_at_the_end(asked)
        keys, values = self._store[layer]
        keys[self._rows, :, self._positions] = key[:, :, 0]
        values[self._rows, :, self._positions] = value[:, :, 0]
        slots, kv_heads = key.shape[:2]
        grouped = query.reshape(slots, kv_heads, query.shape[1] // kv_heads, query.shape[3])
        mask = self._step_mask(query.dtype, window)
        seen = slice(0, self._kv_length)
        out = functional.scaled_dot_product_attention(
            grouped, keys[:slots, :, seen], values[:slots, :, seen], attn_mask=mask, scale=scale
        )
        return out.reshape(slots, query.shape[1], 1, value.shape[3])

    def _step_mask(self, dtype: torch.dtype, window: int | None) -> torch.Tensor:
        if window is None and self._mask is not None:
            return self._mask
        assert self._positions is not None
        index = torch.arange(self._kv_length, device=self._positions.device)
        hidden = index > self._positions[:, None]
        if window is not None:
            hidden |= index <= self._positions[:, None] - window
        mask = torch.zeros(hidden.shape, dtype=dtype, device=index.device).masked_fill_(hidden, -torch.inf)[
            :, None, None
        ]
        if window is None:
            self._mask = mask
        return mask


def causal_at_the_end(asked: Asked) -> torch.Tensor:
    """Causal attention (B, heads, S, D) where the queries are the last S of the key positions."""
    query, key, value, scale, window = asked
    length, total = query.shape[2], key.shape[2]
    grouped = query.shape[1] != key.shape[1]
    if length == total and (window is None or length <= window):
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=length > 1, scale=scale, enable_gqa=grouped
        )
    if grouped and query.is_cuda:
        # CUDA's memory-efficient kernel takes a mask only with as many key heads as query heads
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        grouped = False
    parts = []
    # in chunks of queries, so that the mask of a long chain does not grow with its square
    for first in range(0, length, _QUERY_CHUNK):
        part = query[:, :, first : first + _QUERY_CHUNK]
        end = total - length + first + part.shape[2]
        own = torch.arange(end - part.shape[2], end, device=query.device)[:, None]
        index = torch.arange(end, device=query.device)
        seen = index <= own if window is None else (index <= own) & (index > own - window)
        parts.append(
            functional.scaled_dot_product_attention(
                part, key[:, :, :end], value[:, :, :end], attn_mask=seen, scale=scale, enable_gqa=grouped
            )
        )
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


class KeyValues(Protocol):
    """Who takes the place of the library's attention, layer by layer."""

    def attend(self, layer: int, asked: Asked) -> torch.Tensor:
        """Attention output (B, heads, S, D)."""
        ...


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    slots: KeyValues,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    for name in _UNSUPPORTED:
        if others.get(name) is not None:
            raise UserError(f"the transformers engine does not know this model's attention ({name}): use --engine vllm")
    layer: int = module.layer_idx  # type: ignore[assignment]
    out = slots.attend(layer, Asked(query, key, value, scaling, sliding_window))
    return out.transpose(1, 2).contiguous(), None


def install(model: Any) -> None:
    """Make a transformers model attend through the `slots` keyword.

    Raises:
        UserError: the model keeps other state than keys and values, or does not take attention functions.
    """
    kinds = set(getattr(model.config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds or not model._supports_attention_backend:
        raise UserError(
            f"the transformers engine does not support {type(model).__name__}"
            f"{' with ' + ', '.join(sorted(kinds)) if kinds else ''}: use --engine vllm"
        )
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, _no_mask)
    model.set_attn_implementation(ATTENTION)


@torch.inference_mode()
def next_logits(model: Any, ids: torch.Tensor, positions: torch.Tensor, slots: KeyValues) -> torch.Tensor:
    """Logits (B, V) of an installed model after the last of ids (B, S), which stand at positions (B, S)."""
    out = model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=1, slots=slots)
    return out.logits[:, -1]  # type: ignore[no-any-return]


def _no_mask(*_: Any, **__: Any) -> None:
    """Attention masks itself: it knows each slot's length."""
