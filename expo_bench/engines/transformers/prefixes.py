"""What a model keeps of the token sequences that it has read, so that no beginning is read twice.

An answer's places stand behind one chain, and at each of them there are many ways to write it: only what is new is
read. New parts follow each other in one packed row, in which each sees what stands before it and itself, so that
nothing is padded.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from expo_bench.engines.transformers.slots import Asked, causal_at_the_end

KEPT_TOKENS = 16_384
"""Keys and values of so many tokens are kept: 2.3 GiB of a model of 8 billion weights, 0.2 GiB of half a billion."""
_WORTH_WAITING = 16
"""Tokens, and half of its own, that a sequence must save to wait until another is read: more passes are smaller."""

Ids = NDArray[np.int64]


class _Pass:
    """One pass through the model over new parts; travels as the model's keyword `slots`."""

    def __init__(self, parts: Sequence["Part"], *, keep: bool) -> None:
        self._before = [part.pieces(part.first) for part in parts]
        self._lengths = [part.n_new for part in parts]
        self._keep = keep
        self.kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """Layer -> keys and values (1, kv_heads, tokens of all parts, D)."""

    def attend(self, layer: int, asked: Asked) -> torch.Tensor:
        """Attention output (1, heads, S, D) of packed parts, each of which sees what stands before it and itself."""
        if self._keep:
            self.kept[layer] = (asked.key, asked.value)
        outs = []
        split = (torch.split(states, self._lengths, 2) for states in asked[:3])
        for before, queries, keys, values in zip(self._before, *split, strict=True):
            if before:
                old = [part.kept(layer, length) for part, length in before]
                keys = torch.cat([*(pair[0] for pair in old), keys], dim=2)
                values = torch.cat([*(pair[1] for pair in old), values], dim=2)
            outs.append(causal_at_the_end(Asked(queries, keys, values, asked.scale, asked.window)))
        return torch.cat(outs, dim=2)


@dataclass(slots=True, eq=False)
class Part:
    """What a sequence adds to the beginning that it has in common with one read before."""

    ids: Ids
    """The whole sequence, from the beginning of the prompt."""
    first: int
    """So many of its ids are another's."""
    parent: "Part | None"
    """Whose they are; None where there are none."""
    read: _Pass | None = None
    offset: int = 0
    """Where it begins in the pass that read it."""
    hidden: torch.Tensor | None = None
    """Last hidden states (n_new, H)."""

    @property
    def n_new(self) -> int:
        """Tokens of its own."""
        return len(self.ids) - self.first

    def pieces(self, length: int) -> list[tuple["Part", int]]:
        """Return the parts that the first `length` ids are made of, and how many ids each gives."""
        if length <= self.first:
            return self.parent.pieces(length) if self.parent else []
        before = self.parent.pieces(self.first) if self.parent else []
        return [*before, (self, length - self.first)] if self.n_new else before

    def kept(self, layer: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (1, kv_heads, length, D) of the first ids of its own."""
        assert self.read is not None
        keys, values = self.read.kept[layer]
        return tuple(whole[:, :, self.offset : self.offset + length] for whole in (keys, values))  # type: ignore[return-value]

    def hidden_from(self, start: int) -> torch.Tensor:
        """Last hidden states (len(ids) - start, H) at the ids from `start` on."""
        found, at = [], 0
        for part, length in self.pieces(len(self.ids)):
            assert part.hidden is not None
            if at + length > start:
                found.append(part.hidden[max(start - at, 0) : length])
            at += length
        return torch.cat(found)


class Prefixes:
    """The sequences that were read last."""

    def __init__(self, most: int = KEPT_TOKENS) -> None:
        """Keep keys and values of `most` tokens, and those of the prompt that is being worked on."""
        self._most = most
        self._read: deque[Part] = deque()

    @property
    def keeps(self) -> bool:
        """Whether sequences are kept beyond their pass."""
        return self._most > 0

    def prompt(self, model: Any, ids: Ids) -> Part:
        """Return what all sequences of one prompt begin with, read unless it was."""
        for part in self._read:
            if np.array_equal(part.ids, ids):
                return part
        prompt = Part(ids, 0, None)
        if prompt.n_new:
            _read(model, [prompt], keep=True)
            self._keep([prompt])
        return prompt

    def choose(self, sequences: Sequence[Ids], prompt: Part, most: int) -> tuple[list[int], list[Part]]:
        """Return which sequences the next pass reads, by their places in the list, and what it reads of them.

        Args:
            sequences: at least one; all begin with the prompt.
            prompt: see `prompt`.
            most: new tokens at most, but for a single longer part.
        """
        places: list[int] = []
        parts: list[Part] = []
        size = 0
        for place, ids in enumerate(sequences):
            part = self._part(ids, prompt)
            if (not parts or size + part.n_new <= most) and not (self.keeps and _waits(part, parts)):
                places.append(place)
                parts.append(part)
                size += part.n_new
        return places, parts

    def _part(self, ids: Ids, prompt: Part) -> Part:
        parent, first = prompt, len(prompt.ids)
        for part in self._read:
            if (common := _common(ids, part.ids)) > first:
                parent, first = part, common
        return Part(ids, first, parent)

    def read(self, model: Any, parts: Sequence[Part]) -> None:
        """Read what is new in parts, in one pass, and keep it."""
        if new := [part for part in parts if part.n_new]:
            _read(model, new, keep=self.keeps)
            self._keep(new)

    def _keep(self, parts: Sequence[Part]) -> None:
        self._read.extend(parts)
        size = sum(part.n_new for part in self._read)
        while self._read and size > self._most:
            size -= self._read.popleft().n_new


def _read(model: Any, parts: Sequence[Part], *, keep: bool) -> None:
    one_pass = _Pass(parts, keep=keep)
    ids = torch.from_numpy(np.concatenate([part.ids[part.first :] for part in parts]))
    positions = torch.cat([torch.arange(part.first, len(part.ids)) for part in parts])
    hidden = model.base_model(
        input_ids=ids[None].to(model.device), position_ids=positions[None].to(model.device), use_cache=False,
        slots=one_pass,
    ).last_hidden_state[0]  # fmt: skip
    offset = 0
    for part, own in zip(parts, torch.split(hidden, [part.n_new for part in parts]), strict=True):
        part.read, part.offset, part.hidden = one_pass, offset, own
        offset += part.n_new


def _waits(part: Part, others: Sequence[Part]) -> bool:
    saved = max((_common(part.ids, other.ids) for other in others), default=0) - part.first
    return saved >= max(_WORTH_WAITING, part.n_new / 2)


def _common(one: Ids, other: Ids) -> int:
    """How many ids two sequences begin with together."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if len(differ) else length
