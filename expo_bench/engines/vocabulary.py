"""What each token of a tokenizer writes, as bytes: sums over all ways to write a text need to know.

A text may be written in many ways: `18}` as `1`, `8}` or `18`, `}`. The probability that a policy goes on with it is a
sum over them (Phan et al., arXiv 2410.09303; Vieira et al., arXiv 2412.03719).
"""

import bisect
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from expo_bench.engines.base import Branch, Continuation
from expo_bench.engines.rendering import chain_ids

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_letters() -> dict[str, int]:
    """The letters by which byte-level vocabularies write bytes: printable ones stand for themselves."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {**{chr(byte): byte for byte in own}, **{chr(256 + place): byte for place, byte in enumerate(others)}}


_LETTERS = _byte_letters()
_SPACES = {"\u2581": "pieces", "\u0120": "bytes", " ": "plain"}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked at one place of a text that is being written: which tokens go on with it."""

    inside: tuple[tuple[int, int], ...]
    """Tokens that write a part of what is left, and how many bytes each writes."""
    ends: tuple[tuple[int, int], ...]
    """For each mark the range, in `Vocabulary.order`, of the tokens that reach it; empty where it lies behind."""


class Vocabulary:
    """The bytes of each token, and which tokens go on with a text."""

    def __init__(self, texts: Mapping[int, bytes], special: Collection[int] = ()) -> None:
        """Take what each token id writes; special ones have a name, but write nothing that a text could go on with."""
        self.texts = texts
        pairs = sorted((text, token) for token, text in texts.items() if text and token not in special)
        self.order = np.array([token for _, token in pairs], dtype=np.int64)
        """Token ids, sorted by what they write."""
        self._sorted = [text for text, _ in pairs]
        self._longest = max(map(len, self._sorted), default=0)
        self._ids: dict[bytes, list[int]] = {}
        for text, token in pairs:
            self._ids.setdefault(text, []).append(token)

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        """Return the vocabulary of a transformers tokenizer."""
        style = _style(tokenizer)
        names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        added = tokenizer.added_tokens_decoder
        texts = {token: piece_text(name, style) for token, name in enumerate(names) if name is not None}
        special = {*tokenizer.all_special_ids, *(token for token, one in added.items() if one.special)}
        return cls({**texts, **{token: one.content.encode() for token, one in added.items()}}, special)

    def starting(self, text: bytes) -> tuple[int, int]:
        """Return the range of `order` whose tokens begin with the text."""
        low = bisect.bisect_left(self._sorted, text)
        return low, bisect.bisect_left(self._sorted, True, low, key=lambda one: not one.startswith(text))

    def queries(self, one: Continuation) -> list[Query]:
        """Return for each scored id of a continuation that writes a text which tokens could stand in its place."""
        found, at = [], 0
        for token in one.token_ids[one.given :]:
            found.append(self._query(one.text, at, one.marks))
            at += len(self.texts[token])
        return found

    def _query(self, text: bytes, at: int, marks: Sequence[int]) -> Query:
        left = text[at:]
        inside = [
            (token, length)
            for length in range(1, min(len(left) - 1, self._longest) + 1)
            for token in self._ids.get(left[:length], ())
        ]
        ends = [self.starting(text[at:mark]) if mark > at else (0, 0) for mark in marks]
        return Query(tuple(inside), tuple(ends))

    def listed(
        self, one: Continuation, places: Sequence[Mapping[int, float]], *, top: int, complete: bool
    ) -> tuple[Branch, ...]:
        """Return the branches of a continuation where an engine lists the likeliest tokens only.

        Args:
            one: writes a text, with marks.
            places: the log-probabilities of the tokens that are listed at each scored id.
            top: so many of them are the likeliest of all.
            complete: whether this vocabulary is the model's whole, so that those not listed can be counted.
        """
        found = []
        for query, place in zip(self.queries(one), places, strict=True):
            inside = tuple((token, length, place[token]) for token, length in query.inside if token in place)
            writers = [self.order[low:high].tolist() for low, high in query.ends]
            ends = tuple(_log(sum(math.exp(place[token]) for token in own if token in place)) for own in writers)
            unseen = max(0.0, 1 - sum(map(math.exp, place.values())))
            if complete and len(place) >= top:
                wanted = {token for token, _ in query.inside}.union(*writers)
                least = math.exp(sorted(place.values(), reverse=True)[top - 1])
                unseen = min(unseen, least * len(wanted - place.keys()))
            found.append(Branch(inside=inside, ends=ends, unseen=unseen))
        return tuple(found)

    def cover(self, text: bytes) -> tuple[int, ...] | None:
        """Return tokens that write the text, the longest first; None where there are none."""
        ids: list[int] = []
        while text:
            length = next((n for n in range(min(len(text), self._longest), 0, -1) if text[:n] in self._ids), 0)
            if not length:
                return None
            ids.append(self._ids[text[:length]][0])
            text = text[length:]
        return tuple(ids)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def piece_text(name: str, style: str) -> bytes:
    """Return what a token writes, by its name in a vocabulary.

    Args:
        name: as the tokenizer's files have it.
        style: "bytes" (each letter stands for a byte, as in GPT-2), "pieces" (SentencePiece's U+2581 for a space),
            "words" (tokens with spaces between them), or "plain".
    """
    if style == "words":
        return name.encode() + b" "
    if style == "bytes" and all(letter in _LETTERS for letter in name):
        return bytes(_LETTERS[letter] for letter in name)
    if style == "pieces" and (byte := _BYTE.fullmatch(name)):
        return bytes([int(byte[1], 16)])
    return name.replace("\u2581", " ").encode() if style == "pieces" else name.encode()


def style_of(names: Iterable[str]) -> str:
    """Return the style of a vocabulary by some of its names, where spaces would have to show."""
    letters = {letter for name in names for letter in name}
    return next((style for letter, style in _SPACES.items() if letter in letters), "words")


def _style(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return style_of(tokenizer.get_vocab())
    if backend.decoder is None:
        return "words"
    decoder = backend.decoder.__getstate__().decode()
    return "bytes" if '"ByteLevel"' in decoder else "pieces" if "\u2581" in decoder else style_of(tokenizer.get_vocab())


class OwnTokenizer:
    """What an engine that holds its tokenizer tells of tokens."""

    _tokenizer: Any

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text that follows a prompt; see `rendering.chain_ids`."""
        return chain_ids(self._tokenizer, text)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary.of(self._tokenizer)

    def token_texts(self, ids: Sequence[int]) -> list[bytes]:
        """Return what each id writes; see `base.Scorer.token_texts`."""
        return [self._vocabulary.texts[token] for token in ids]

    def cover(self, text: bytes) -> tuple[int, ...] | None:
        """Return ids that write the text; see `base.Scorer.cover`."""
        return self._vocabulary.cover(text)
