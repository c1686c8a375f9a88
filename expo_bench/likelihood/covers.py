r"""How likely a policy's text goes on with a given text: summed over the ways to write it in tokens.

A policy samples tokens, and many sequences of tokens begin with the same text: `18}` may be written `1`, `8}` or
`18`, `}\)`. The probability that what follows begins with the text is the sum over the shortest sequences that do
(Phan et al., arXiv 2410.09303; Vieira et al., arXiv 2412.03719). They form a tree, whose inner nodes write a part of
the text. An engine that scores one path through it tells the branches at each node of the path; the likeliest nodes
that were not seen are looked at next, until what they can hold is small.
"""

import math
from dataclasses import dataclass

from expo_bench.engines.base import Branch

Path = tuple[int, ...]

TOLERANCE = 1e-3
"""Share of the probability found that what was not looked at may have, so an error of as many nats."""
_AT_ONCE = 8
_MOST_PATHS = 64


@dataclass(slots=True)
class _Node:
    """Tokens that write a part of the text."""

    logprob: float
    """Of these tokens together."""
    at: int
    """Bytes of the text that they write."""


class Cover:
    """The tree of one text, and what is known of it."""

    def __init__(self, marks: tuple[int, ...], *, at: int = 0, tolerance: float = TOLERANCE) -> None:
        """Know nothing yet.

        Args:
            marks: bytes of the text, in rising order; the last is its length.
            at: bytes of the text that are given; from there on it is open how it is written.
            tolerance: see `TOLERANCE`.
        """
        self._marks = marks
        self._at = at
        self._tolerance = tolerance
        self._open: dict[Path, _Node] = {(): _Node(0.0, at)}
        self._found = [-math.inf] * len(marks)
        self._unseen = [-math.inf] * len(marks)
        self._paths = 0

    def take(self, path: Path, branches: tuple[Branch, ...], *, first: int = 0) -> None:
        """Take what an engine told of one path: a branch at each token from the `first` on.

        A branch may have marks before the text's own.
        """
        self._paths += 1
        for length, branch in enumerate(branches, first):
            node = self._open.pop(path[:length], None)
            if node is None:
                # seen by another path, or not a part of the text
                continue
            for place, (mark, end) in enumerate(zip(self._marks, branch.ends[-len(self._marks) :], strict=True)):
                if mark > node.at:
                    self._found[place] = _added(self._found[place], node.logprob + end)
                    self._unseen[place] = _added(self._unseen[place], node.logprob + _log(branch.unseen))
            for token, n_bytes, logprob in branch.inside:
                self._open[*path[:length], token] = _Node(node.logprob + logprob, node.at + n_bytes)

    def logprob(self, place: int) -> float:
        """Return the log-probability, in nats, that what follows begins with the text up to a mark; at least that."""
        return 0.0 if self._marks[place] <= self._at else self._found[place]

    def slack(self, place: int) -> float:
        """Return by how many nats `logprob` may be too small: what was not looked at, or not listed by the engine."""
        if self._marks[place] <= self._at:
            return 0.0
        if self._found[place] == -math.inf:
            return math.inf
        missing = self._unseen[place]
        for node in self._open.values():
            if node.at < self._marks[place]:
                missing = _added(missing, node.logprob)
        # all of it together is no more than certain
        return min(_added(self._found[place], missing), 0.0) - self._found[place]

    def wanted(self) -> list[tuple[Path, int]]:
        """Return the nodes to look at next, and how many bytes they write; none where the rest is small enough."""
        if self._paths >= _MOST_PATHS:
            return []
        listed = sorted(self._open.items(), key=lambda item: -item[1].logprob)
        chosen: dict[Path, _Node] = {}
        for place, mark in enumerate(self._marks):
            short = [(path, node) for path, node in listed if node.at < mark]
            left = -math.inf
            for path, node in reversed(short):
                left = _added(left, node.logprob)
                if left > self._found[place] + _log(self._tolerance):
                    chosen[path] = node
        best = sorted(chosen.items(), key=lambda item: -item[1].logprob)[: min(_AT_ONCE, _MOST_PATHS - self._paths)]
        return [(path, node.at) for path, node in best]


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _added(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
