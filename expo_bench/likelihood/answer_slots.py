r"""The slot in which the gold answer is scored: `\boxed{` behind a chain, and the same behind no chain.

A chain keeps all that it wrote before its own answer, so that the slot is written as the chain writes its own: in
`\(...\)`, `$...$`, a display or plain text. docs/likelihood.md states the rules.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from expo_bench.engines.base import Continuation, Scored, Scorer
from expo_bench.likelihood.chains import Place, answer_place
from expo_bench.likelihood.covers import Cover

OPENING = "\\boxed{"
_CLOSING = "}"
_PARAGRAPH = "\n\n"
_MATHS = re.compile(r"(\\[(\[]|\$\$?)\s*\Z")
_DELIMITER = re.compile(r"\\[()\[\]]")


@dataclass(frozen=True, slots=True)
class AnswerSlot:
    """Where the slot stands."""

    before: str
    """The chain up to it."""
    bare: str
    """What stands before it where there is no chain: the opening of the mathematics that the chain has put it in."""
    place: Place
    """What it stands in place of."""


def answer_slot(text: str, *, truncated: bool) -> AnswerSlot:
    """Return the slot of a chain; one that has no answer of its own gets it in a paragraph of its own."""
    at, place = answer_place(text, truncated=truncated)
    if place == "end":
        whole = text.rstrip()
        return AnswerSlot(whole + _PARAGRAPH if whole else "", "", place)
    before = text[:at]
    if direct := _MATHS.search(before):
        return AnswerSlot(before, direct[0], place)
    last = [found[0] for found in _DELIMITER.finditer(before)][-1:]
    return AnswerSlot(before, last[0] if last in (["\\("], ["\\["]) else "", place)


class _Way(NamedTuple):
    """One way to write a slot that is being scored."""

    ids: tuple[int, ...]
    seen: int = 0
    """So many of them are known already, with what may stand in their place."""
    at: int = 0
    """Bytes of the slot's text that these write."""


class SlotScore:
    """One slot on its way to a score: the tokens around it, and the sum over the ways to write the answer in it."""

    def __init__(self, key: str, engine: Scorer, before: str, answer: str, sampled: Sequence[int] | None) -> None:
        r"""Choose the tokens.

        Args:
            key: of its continuations.
            engine: whose tokens are chosen; nothing is scored yet.
            before: what stands before `\boxed{`.
            answer: the gold answer.
            sampled: the ids of the chain that `before` is the beginning of, None to tokenise it; they are kept up to
                the last place where the tokens of chain and slot, taken together, begin anew as well.

        Raises:
            ValueError: the tokenizer does not write the slot as it reads it.
        """
        chain, opened, whole = (
            engine.tokenize(text)[:-1] for text in (before, before + OPENING, before + OPENING + answer + _CLOSING)
        )
        texts = engine.token_texts(opened), engine.token_texts(whole)
        text = b"".join(texts[1])
        n_chain, n_opened = len(b"".join(engine.token_texts(chain))), len(b"".join(texts[0]))
        # what the answer's first token may join with: the opening's last token, or all that the gold answer re-writes
        shared = next(
            (at for at, pair in enumerate(zip(opened, whole, strict=False)) if pair[0] != pair[1]), len(opened)
        )
        root = min(shared, len(opened) - 1)
        starts = _starts(texts[1])
        if not text.startswith(b"".join(texts[0])) or n_chain > n_opened or root < 0:
            raise ValueError("the tokenizer does not write the answer's slot as it reads it")
        first = max(at for at in range(root + 1) if starts[at] <= n_chain)
        self._key = key
        self._root = root - first
        self._context = _joined(engine, sampled, whole[:first], starts[first])
        self._path = whole[first:]
        self._text = text[starts[first] :]
        self._marks = tuple(mark - starts[first] for mark in (n_chain, n_opened, len(text)))
        self._tail = 0.0
        self._lead = 0.0
        self._cover = Cover(self._marks[1:], at=starts[root] - starts[first])
        self._engine = engine
        self._asked = {key: _Way(self._path)}
        self.error: str | None = None

    def continuations(self) -> list[Continuation]:
        """Return what is to be scored now: the tokenizer's own way to write the slot at first."""
        return [
            Continuation(
                key=key,
                token_ids=self._context + way.ids,
                given=len(self._context) + way.seen,
                text=self._text[way.at :],
                marks=tuple(max(mark - way.at, 0) for mark in self._marks),
            )
            for key, way in self._asked.items()
        ]

    def take(self, scored: Scored) -> None:
        """Take the score of one of them."""
        way = self._asked.pop(scored.key)
        if scored.error is not None:
            self.error = self.error or scored.error
            return
        if scored.key == self._key:
            self._lead = float(scored.logprobs[: self._root].sum(dtype="float64"))
            self._tail = scored.branches[0].ends[0] if self._marks[0] else 0.0
        first = max(way.seen, self._root)
        self._cover.take(way.ids[self._root :], scored.branches[first - way.seen :], first=first - self._root)

    def go_on(self) -> bool:
        """Tell whether other ways to write the answer are to be scored too; `continuations` then returns them."""
        if self.error is None:
            for number, (path, at) in enumerate(self._cover.wanted()):
                rest = self._engine.cover(self._text[at:])
                if rest is not None:
                    begun = (*self._path[: self._root], *path)
                    self._asked[f"{self._key}#{number}"] = _Way((*begun, *rest), len(begun), at)
        return bool(self._asked)

    @property
    def answer_logprob(self) -> float:
        """Log-probability that what follows the opening begins with the gold answer and closes; at least that."""
        return self._cover.logprob(1) - self._cover.logprob(0)

    @property
    def slack(self) -> float:
        """By how many nats `answer_logprob` may be wrong."""
        return max(self._cover.slack(0), self._cover.slack(1))

    @property
    def opening_logprob(self) -> float:
        """Log-probability of the opening, behind what the chain has written."""
        return self._lead + self._cover.logprob(0) - self._tail


def _starts(texts: Sequence[bytes]) -> list[int]:
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text))
    return starts


def _joined(engine: Scorer, sampled: Sequence[int] | None, ids: tuple[int, ...], n_bytes: int) -> tuple[int, ...]:
    """Return the sampled ids up to the last place where `ids` begin a token too, and `ids` from there on."""
    if not sampled or not ids:
        return ids
    texts = engine.token_texts(sampled)
    own, wanted = engine.token_texts(ids), b"".join(texts)
    if wanted[:n_bytes] != b"".join(own):
        return ids
    places = {start: at for at, start in enumerate(_starts(texts))}
    starts = _starts(own)
    last = max(at for at in range(len(ids) + 1) if starts[at] in places)
    return (*sampled[: places[starts[last]]], *ids[last:])
