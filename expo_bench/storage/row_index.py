"""Where the rows of a file lie, and the few of their fields that are looked for: a view over a file that may grow.

Nothing is written. An index of a million samples takes about 75 MB; the texts stay on disk. Each call reads on for a
given time at most, so that who asks is answered in time and told how far the answer reaches.
"""

import io
import json
import re
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.errors import UserError
from expo_bench.storage.row_files import there

_BLOCK = 2**22
_SEARCHES = 8
MISSING = -1
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is kept of the rows of a file."""

    names: tuple[str, ...]
    """Of the numbers that are kept."""
    of_object: Callable[[dict[str, Any]], tuple[float, ...]]
    """The numbers of a line, as `json` reads it."""
    dtype: Any = np.float64
    """Of the numbers."""
    head: "re.Pattern[bytes] | None" = None
    """Matches a line's beginning as `encode` writes it; None: lines are read by `json`."""
    tail_mark: bytes = b""
    """Where the tail begins; no string of a line can hold it, since quotation marks in strings are escaped."""
    tail: "re.Pattern[bytes]" = re.compile(b"")
    """Matches what is kept of the last fields."""
    of_match: Callable[[Sequence[bytes], Sequence[bytes]], tuple[float, ...]] = lambda _head, _tail: ()
    """The numbers of a line from the groups of head and tail: ten times as fast as `of_object`."""
    text: str = ""
    """The field that is searched."""
    follows: str = ""
    """The field that stands behind it in a line that `encode` wrote."""


class RowIndex:
    """The rows of one file, in their order. `refresh` reads what was added; a torn last line is left out."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path, self._kind = path, kind
        self._lock = threading.RLock()
        self._reset(None)

    def _reset(self, source: tuple[Path, int] | None) -> None:
        self._source = source
        self._position = 0
        self._parts: list[NDArray[Any]] = []
        self._starts: list[NDArray[np.int64]] = []
        self._searches: OrderedDict[str, _Search] = OrderedDict()
        self.share = 1.0

    def refresh(self, seconds: float) -> bool:
        """Read on for about this time; tell whether all that is there was read."""
        stop = time.monotonic() + seconds
        with self._lock:
            found = there(self.path)
            source = None if found is None else (found, found.stat().st_ino)
            if source != self._source or (found and found == self.path and found.stat().st_size < self._position):
                self._reset(source)
            if found is None:
                return True
            size, whole = found.stat().st_size, True
            for block in _blocks(found, self._position):
                self._add(block)
                self._position += len(block)
                if time.monotonic() > stop:
                    whole = self._position >= size and found == self.path
                    break
            # of a packed file nobody knows how far it goes
            self.share = 1.0 if whole else self._position / size if found == self.path else 0.5
            return whole

    def _add(self, block: bytes) -> None:
        kind = self._kind
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + 1
        numbers: list[tuple[float, ...]] = []
        start = 0
        for end in ends.tolist():
            head = kind.head.match(block, start, end) if kind.head else None
            # from behind: what lies between is not looked at
            tail = kind.tail.match(block, block.rfind(kind.tail_mark, start, end)) if head else None
            if head and tail and tail.start() > head.end():
                numbers.append(kind.of_match(head.groups(), tail.groups()))
            else:
                numbers.append(self._parsed(block[start:end]))
            start = end
        self._parts.append(np.array(numbers, dtype=kind.dtype).T)
        self._starts.append(np.concatenate(([0], ends[:-1])) + self._position)

    def _parsed(self, line: bytes) -> tuple[float, ...]:
        try:
            return self._kind.of_object(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{self.path} has a line that is no row: {str(error)[:80]}; mend or delete the line"
            ) from error

    @property
    def columns(self) -> Columns:
        """Return the kept fields, arrays of one length."""
        with self._lock:
            if len(self._parts) > 1:
                self._parts = [np.concatenate(self._parts, axis=1)]
            names = self._kind.names
            if not self._parts:
                return {name: np.zeros(0) for name in names}
            return dict(zip(names, self._parts[0], strict=True))

    def __len__(self) -> int:
        return sum(part.shape[1] for part in self._parts)

    def rows(self, wanted: Sequence[int]) -> list[dict[str, Any]]:
        """Return these rows, as JSON objects, in this order."""
        with self._lock:
            starts = self._all_starts()
            if not len(starts) or self._source is None:
                return []
            ends = np.append(starts[1:], self._position)
            places = [(int(starts[row]), int(ends[row])) for row in wanted]
            lines = _slices(self._source[0], places)
        return [json.loads(line) for line in lines]

    def _all_starts(self) -> NDArray[np.int64]:
        if len(self._starts) > 1:
            self._starts = [np.concatenate(self._starts)]
        return self._starts[0] if self._starts else np.zeros(0, dtype=np.int64)

    def search(self, words: str, seconds: float) -> tuple[NDArray[np.bool_], float]:
        """Return which rows hold these words in their text, capital letters or not, and the share that was looked at.

        Asked again, it goes on where the time was up.
        """
        words = words.lower()
        with self._lock:
            search = self._searches.setdefault(words, _Search(self._kind, words))
            self._searches.move_to_end(words)
            while len(self._searches) > _SEARCHES:
                self._searches.popitem(last=False)
            if self._source is not None and search.position < self._position:
                search.go_on(self._source[0], self._all_starts(), self._position, time.monotonic() + seconds)
            mask = np.zeros(len(self), dtype=np.bool_)
            mask[np.array(search.hits, dtype=np.intp)] = True
            return mask, search.position / self._position if self._position else 1.0


class _Search:
    """Rows that hold some words, as far as the file was looked at."""

    def __init__(self, kind: Kind, words: str) -> None:
        self._kind, self._words = kind, words
        # as they stand in a line
        self._needle = json.dumps(words, ensure_ascii=False)[1:-1].encode(errors="replace").lower()
        self.position = 0
        self.hits: list[int] = []

    def go_on(self, path: Path, starts: NDArray[np.int64], end: int, stop: float) -> None:
        for block in _blocks(path, self.position):
            if self.position >= end:
                return
            first = int(np.searchsorted(starts, self.position))
            last = int(np.searchsorted(starts, self.position + len(block)))
            self.hits += [
                first + row for row in self._in(block, [*(starts[first:last] - self.position).tolist(), len(block)])
            ]
            self.position += len(block)
            if time.monotonic() > stop:
                return

    def _in(self, block: bytes, starts: Sequence[int]) -> Iterator[int]:
        """Yield the lines whose text holds the words: one look a hit, and none at the lines between two hits."""
        low_block, n = block.lower(), len(starts) - 1
        opening, closing = (f'"{self._kind.text}":'.encode(), f',"{self._kind.follows}":'.encode())
        if low_block.count(opening) < n or low_block.count(closing) < n:
            yield from self._parsed(block.splitlines())
            return
        at = low_block.find(self._needle)
        while at >= 0:
            row = bisect_right(starts, at) - 1
            low = low_block.find(opening, starts[row]) + len(opening)
            high = -1 if low_block.startswith(b"null", low) else low_block.find(closing, low) - 1
            if at <= low < high:
                at = low_block.find(self._needle, low + 1)
            elif at < high and _inside_escape(low_block, at):
                at = low_block.find(self._needle, at + 1)
            else:
                if at + len(self._needle) <= high:
                    yield row
                at = low_block.find(self._needle, starts[row + 1])

    def _parsed(self, lines: Sequence[bytes]) -> Iterator[int]:
        """Yield the same of lines that another program wrote."""
        words = self._words.encode(errors="replace").lower()
        for row, line in enumerate(lines):
            if words in str(json.loads(line).get(self._kind.text) or "").encode(errors="replace").lower():
                yield row


def _inside_escape(line: bytes, at: int) -> bool:
    r"""Tell whether a place lies behind the first character of an escape such as `\n` or `\u001b`."""
    slash = line.rfind(b"\\", at - 5, at)
    if slash < 0 or (slash < at - 1 and line[slash + 1] != ord("u")):
        return False
    first = slash
    while line[first - 1] == ord("\\"):
        first -= 1
    return (slash - first) % 2 == 0


def _blocks(path: Path, position: int) -> Iterator[bytes]:
    """Yield whole lines from there on, a few megabytes at a time."""
    with _open(path, position) as file:
        rest = b""
        while block := file.read(_BLOCK):
            block = rest + block
            cut = block.rfind(b"\n") + 1
            rest = block[cut:]
            if cut:
                yield block[:cut]


def _slices(path: Path, places: Sequence[tuple[int, int]]) -> list[bytes]:
    found: dict[int, bytes] = {}
    at = 0
    with _open(path, 0) as file:
        for low, high in sorted(places):
            at = _skip(file, at, low)
            if low >= at:
                found[low] = file.read(high - low)
                at = high
    return [found[low] for low, _ in places]


def _open(path: Path, position: int) -> IO[bytes]:
    if path.suffix != ".zst":
        plain = path.open("rb")
        plain.seek(position)
        return plain
    import pyarrow

    try:
        packed: IO[bytes] = io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"), 2**20)
        _skip(packed, 0, position)
    except OSError as error:
        raise UserError(f"{path} is damaged: {error}; put a copy in its place") from error
    return packed


def _skip(file: IO[bytes], at: int, to: int) -> int:
    if file.seekable():
        file.seek(to)
        return to
    while at < to:
        at += len(file.read(min(_BLOCK, to - at))) or to
    return at
