"""Where the rows of a file lie, and the few of their fields that are looked for: a view over a file that may grow.

Nothing is written. An index of a million samples takes about 40 MB; the texts stay on disk. Each call reads on for a
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
    head: "re.Pattern[bytes] | None" = None
    """Matches a line's beginning as `encode` writes it, up to the first character of the text; None: read by `json`."""
    end: bytes = b""
    """Follows the text; its first character is the text's closing quotation mark, which is escaped inside of one."""
    tail_mark: bytes = b""
    """Where the tail begins."""
    tail: "re.Pattern[bytes]" = re.compile(b"")
    """Matches what is kept of the fields after the text."""
    of_match: Callable[[Sequence[bytes], Sequence[bytes]], tuple[float, ...]] = lambda _head, _tail: ()
    """The numbers of a line from the groups of head and tail: ten times as fast."""


class RowIndex:
    """The rows of one file, in their order. `refresh` reads what was added; a torn last line is left out."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path, self._kind = path, kind
        self._lock = threading.RLock()
        self._reset(None)

    def _reset(self, source: tuple[Path, int] | None) -> None:
        self._source = source
        self._position = 0
        self._parts: list[NDArray[np.float64]] = []
        self._spans: list[NDArray[np.int64]] = []
        self._searches: OrderedDict[bytes, _Search] = OrderedDict()
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
        kind, n = self._kind, block.count(b"\n")
        numbers = np.empty((n, len(kind.names)))
        spans = np.empty((n, 3), dtype=np.int64)
        start = 0
        for row in range(n):
            head = kind.head.match(block, start) if kind.head else None
            text_end = block.find(kind.end, head.end()) if head else -1
            tail = kind.tail.match(block, block.find(kind.tail_mark, text_end)) if head and text_end > 0 else None
            stop = block.find(b"\n", tail.end() if tail else start) + 1
            if head and tail and tail.end() < stop and text_end < stop:
                numbers[row] = kind.of_match(head.groups(), tail.groups())
                spans[row] = start, head.end(), text_end
            else:
                stop = block.find(b"\n", start) + 1
                numbers[row], (low, high) = self._parsed(block[start:stop])
                spans[row] = start, start + low, start + high
            start = stop
        self._parts.append(numbers)
        self._spans.append(spans + self._position)

    def _parsed(self, line: bytes) -> tuple[tuple[float, ...], tuple[int, int]]:
        try:
            found = json.loads(line)
            return self._kind.of_object(found), (0, len(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{self.path} has a line that is no row: {str(error)[:80]}; mend or delete the line"
            ) from error

    @property
    def columns(self) -> Columns:
        """Return the kept fields, arrays of one length."""
        with self._lock:
            if len(self._parts) > 1:
                self._parts = [np.concatenate(self._parts)]
                self._spans = [np.concatenate(self._spans)]
            names = self._kind.names
            if not self._parts:
                return {name: np.zeros(0) for name in names}
            return {name: self._parts[0][:, place] for place, name in enumerate(names)}

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def rows(self, wanted: Sequence[int]) -> list[dict[str, Any]]:
        """Return these rows, as JSON objects, in this order."""
        with self._lock:
            spans = self._all_spans()
            if not len(spans) or self._source is None:
                return []
            ends = np.append(spans[1:, 0], self._position)
            places = [(int(spans[row, 0]), int(ends[row])) for row in wanted]
            lines = _slices(self._source[0], places)
        return [json.loads(line) for line in lines]

    def _all_spans(self) -> NDArray[np.int64]:
        if len(self._spans) > 1:
            self._spans = [np.concatenate(self._spans)]
        return self._spans[0] if self._spans else np.zeros((0, 3), dtype=np.int64)

    def search(self, words: str, seconds: float) -> tuple[NDArray[np.bool_], float]:
        """Return which rows hold these words in their text, capital letters or not, and the share that was looked at.

        Asked again, it goes on where the time was up.
        """
        needle = json.dumps(words, ensure_ascii=False)[1:-1].encode(errors="replace").lower()
        with self._lock:
            search = self._searches.setdefault(needle, _Search())
            self._searches.move_to_end(needle)
            while len(self._searches) > _SEARCHES:
                self._searches.popitem(last=False)
            if self._source is not None and search.position < self._position:
                search.go_on(self._source[0], self._all_spans(), self._position, needle, time.monotonic() + seconds)
            mask = np.zeros(len(self), dtype=np.bool_)
            mask[np.array(search.hits, dtype=np.intp)] = True
            return mask, search.position / self._position if self._position else 1.0


class _Search:
    """Rows that hold some words, as far as the file was looked at."""

    def __init__(self) -> None:
        self.position = 0
        self.hits: list[int] = []

    def go_on(self, path: Path, spans: NDArray[np.int64], end: int, needle: bytes, stop: float) -> None:
        for block in _blocks(path, self.position):
            if self.position >= end:
                return
            first = int(np.searchsorted(spans[:, 0], self.position))
            last = int(np.searchsorted(spans[:, 0], self.position + len(block)))
            own = (spans[first:last] - self.position).tolist()
            self.hits += [first + row for row in _hits(block.lower(), own, needle)]
            self.position += len(block)
            if time.monotonic() > stop:
                return


def _hits(block: bytes, spans: Sequence[Sequence[int]], needle: bytes) -> Iterator[int]:
    """Yield the lines whose text holds the needle: one look a hit, and none at the lines between two hits."""
    starts = [span[0] for span in spans]
    at = block.find(needle)
    while at >= 0:
        row = bisect_right(starts, at) - 1
        _, low, high = spans[row]
        if at < low:
            at = block.find(needle, low)
            continue
        if at + len(needle) <= high:
            yield row
        at = block.find(needle, spans[row + 1][1]) if row + 1 < len(spans) else -1


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
