"""What the pages are made from: the entries of a folder, and the indexes of the runs that were looked at last."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError
from expo_bench.reports.likelihood_views import ChainsView, read_chains
from expo_bench.reports.workbench.entries import Entry, find
from expo_bench.reports.workbench.links import Links, ServedLinks
from expo_bench.storage.ledger_folder import LedgerFolder
from expo_bench.storage.row_index import RowIndex
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.sample_index import Ints, SampleIndex
from expo_bench.storage.training_folder import TrainingFolder

Estimate = Callable[[Ints, Ints], tuple[float, float, float]]
"""Samples and right ones of each problem, shape (P,) -> mean rate and its 95% interval."""
READ_SECONDS = 0.5
_MOST_ROWS = 2_500_000
_ENTRIES_SECONDS = 1.0
_RATE_SECONDS = 60.0


class Shelf:
    """A folder of runs, for all pages and all readers."""

    def __init__(self, root: Path, estimate: Estimate, links: Links | None = None) -> None:
        self.root, self.estimate = root, estimate
        self.links = links or ServedLinks()
        self._lock = threading.RLock()
        self._entries: tuple[float, list[Entry]] = (-_ENTRIES_SECONDS, [])
        self._indexes: OrderedDict[Path, SampleIndex] = OrderedDict()
        self._rollouts: OrderedDict[Path, RowIndex] = OrderedDict()
        self._chains: tuple[Path, int, ChainsView] | None = None
        self._seen: dict[Path, deque[tuple[float, int]]] = {}

    def entries(self) -> list[Entry]:
        """Return what the folder holds now."""
        with self._lock:
            if time.monotonic() - self._entries[0] > _ENTRIES_SECONDS:
                self._entries = (time.monotonic(), find(self.root))
            return self._entries[1]

    def entry(self, address: str, *kinds: str) -> Entry | None:
        """Return the entry at an address, of one of these kinds where any is named."""
        return next(
            (one for one in self.entries() if one.address == address and (not kinds or one.kind in kinds)), None
        )

    def below(self, entry: Entry, *kinds: str) -> list[Entry]:
        """Return the entries inside of another, by their addresses."""
        inside = [one for one in self.entries() if one.kind in kinds and entry.path in one.path.parents]
        return sorted(inside, key=lambda one: [(len(part), part) for part in one.address.split("/")])

    def index(self, entry: Entry, seconds: float = READ_SECONDS) -> SampleIndex:
        """Return the index of a run's samples, read on for about this time.

        Raises:
            UserError: the run's problems cannot be read.
        """
        with self._lock:
            found = self._indexes.get(entry.path)
            # problems.jsonl is there before the first sample
            if found is None or not found.problems:
                found = SampleIndex(RunFolder(entry.path), _grader(entry))
            self._indexes[entry.path] = found
            self._indexes.move_to_end(entry.path)
            while len(self._indexes) > 1 and sum(len(one.samples) for one in self._indexes.values()) > _MOST_ROWS:
                self._indexes.popitem(last=False)
        found.refresh(seconds)
        return found

    def rollouts(self, entry: Entry, seconds: float) -> RowIndex:
        """Return the index of a training's rollouts, read on for about this time."""
        with self._lock:
            found = self._rollouts.setdefault(entry.path, TrainingFolder(entry.path).rollout_index())
            self._rollouts.move_to_end(entry.path)
            while len(self._rollouts) > 1 and sum(map(len, self._rollouts.values())) > _MOST_ROWS:
                self._rollouts.popitem(last=False)
        found.refresh(seconds)
        return found

    def chains(self, entry: Entry) -> ChainsView | None:
        """Return a run's scored candidates; None where there are none."""
        path = RunFolder(entry.path).likelihood_metrics_path
        if not path.is_file() or not RunFolder(entry.path).candidates_path.is_file():
            return None
        written = path.stat().st_mtime_ns
        with self._lock:
            if self._chains is None or self._chains[:2] != (path, written):
                [view] = read_chains([RunFolder(entry.path)])
                self._chains = (path, written, view)
            return self._chains[2]

    def rate(self, entry: Entry, count: int) -> float | None:
        """Return samples a second over the last minute in which somebody looked; None before the second look."""
        now = time.monotonic()
        with self._lock:
            seen = self._seen.setdefault(entry.path, deque())
            seen.append((now, count))
            while len(seen) > 2 and now - seen[0][0] > _RATE_SECONDS:
                seen.popleft()
            (first, before) = seen[0]
        return (count - before) / (now - first) if now - first > 1 and count > before else None

    def ledgers(self, entry: Entry) -> Iterator[tuple[Entry, dict[str, Any], str]]:
        """Yield the ledgers that a run is part of, each with its content and the run's name in it."""
        own = entry.path.resolve()
        for one in self.entries():
            if one.kind != "ledger":
                continue
            try:
                content = LedgerFolder(one.path).content()
            except UserError:
                continue
            for name, run in content["runs"].items():
                if _same(own, Path(str(run.get("path", "")))):
                    yield one, content, name

    def run_at(self, told: Path) -> Entry | None:
        """Return the run that a ledger names by this path; None where it is not in the folder."""
        runs = (one for one in self.entries() if one.kind == "run")
        return next((one for one in runs if _same(one.path.resolve(), told)), None)

    def cells(self, entry: Entry) -> Mapping[str, Mapping[str, Any]]:
        """Return the row of each problem in the first ledger that the run is part of."""
        for ledger, _, name in self.ledgers(entry):
            rows = LedgerFolder(ledger.path).rows()
            own = [row for row in rows if name == row["trained"]] or [row for row in rows if name == row["base"]]
            first = [row for row in own if (row["base"], row["trained"]) == (own[0]["base"], own[0]["trained"])]
            return {row["problem_id"]: row for row in first}
        return {}


def _same(own: Path, told: Path) -> bool:
    # a ledger tells paths as they were given, which may start at another folder
    parts = [part for part in told.parts if part not in ("..", ".")]
    return bool(parts) and (told.resolve() == own or (len(parts) > 1 and own.parts[-len(parts) :] == tuple(parts)))


def _grader(entry: Entry) -> str:
    told = str(entry.manifest.protocol.get("grader", "")) if entry.manifest else ""
    known = RunFolder(entry.path).graders()
    return told if told in known or not known else known[0]
