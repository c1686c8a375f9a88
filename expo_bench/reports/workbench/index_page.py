"""The first page: everything in the folder, and a leaderboard for each benchmark under one protocol."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from expo_bench.reports.run_views import sampling
from expo_bench.reports.tables import Cell, metric_cell
from expo_bench.reports.text import short
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.links import Links

LIVE_SECONDS = 3
IDLE_SECONDS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One entry as the table shows it."""

    kind: str
    state: str
    reason: str
    address: str
    name: str
    model: str
    benchmark: str
    problems: int
    n: str
    headline: Cell | None
    sort: str
    solved: Cell | None
    when: str
    changed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Runs on the same problems under the same protocol, best first."""

    title: str
    protocol: str
    compare: str
    rows: list[IndexRow]


def index_context(entries: Sequence[Entry], name: str, links: Links) -> dict[str, Any]:
    """Return what the template of the first page shows."""
    running = [entry for entry in entries if entry.state == "running"]
    counted = {kind: sum(entry.kind == kind for entry in entries) for kind in ("run", "training", "study", "ledger")}
    told = ", ".join(f"{count} {_plural(kind, count)}" for kind, count in counted.items() if count)
    lead = f"{told or 'Nothing to look at yet'}" + (f"; {len(running)} running" if running else "") + "."
    return {
        "title": short(name, 80),
        "lead": lead,
        "crumbs": [],
        "tabs": [],
        "tab": "",
        "live": LIVE_SECONDS if running else IDLE_SECONDS,
        "rows": [index_row(entry) for entry in entries],
        "kinds": [kind for kind, count in counted.items() if count],
        "states": sorted({entry.state for entry in entries}),
        "boards": boards(entries, links),
    }


def _plural(kind: str, count: int) -> str:
    return kind if count == 1 else {"study": "studies"}.get(kind, f"{kind}s")


def index_row(entry: Entry) -> IndexRow:
    """Return an entry in the words of the page."""
    headline = entry.headline
    counts = entry.manifest.counts if entry.manifest else {}
    problems = headline.n_problems if headline else counts.get("problems", 0)
    samples = headline.n_samples if headline else counts.get("samples", 0)
    moment = datetime.fromtimestamp(entry.changed, UTC)
    return IndexRow(
        kind=entry.kind,
        state=entry.state,
        reason=short(entry.reason, 200),
        address=entry.address,
        name=entry.name,
        model=entry.model,
        benchmark=entry.benchmarks,
        problems=problems,
        n=f"{samples / problems:.4g}" if problems and samples else "",
        headline=metric_cell(headline) if headline else None,
        sort="" if headline is None or headline.value is None else str(headline.value),
        solved=_solved(entry),
        when=f"{moment:%Y-%m-%d %H:%M}",
        changed=entry.changed,
    )


def _solved(entry: Entry) -> Cell | None:
    if entry.solved is None:
        return None
    cell = metric_cell(entry.solved)
    return Cell(
        text=f"{cell.text} @{entry.solved.name.removeprefix('pass@')}", interval=cell.interval, these=cell.these
    )


def group_key(entry: Entry) -> tuple[str, str] | None:
    """Return what runs of one leaderboard share, the problems and the protocol; None for what stands in none."""
    if entry.kind != "run" or entry.headline is None or entry.headline.value is None or entry.manifest is None:
        return None
    marks = ("split", "digest", "n_selected", "levels", "subjects")
    told = {name: [about.get(mark) for mark in marks] for name, about in entry.manifest.benchmarks.items()}
    return json.dumps([told, entry.headline.n_problems], sort_keys=True, default=str), entry.manifest.protocol_hash


def groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the runs that may be compared, best first, in groups of two or more."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if (key := group_key(entry)) is not None:
            found.setdefault(key, []).append(entry)
    several = [group for group in found.values() if len(group) > 1]
    return [sorted(group, key=lambda one: -_value(one)) for group in several]


def _value(entry: Entry) -> float:
    return entry.headline.value or 0.0 if entry.headline else 0.0


def boards(entries: Sequence[Entry], links: Links) -> list[Board]:
    """Return a leaderboard for each benchmark and protocol with two runs or more."""
    found = []
    for group in groups(entries):
        first = group[0]
        if first.manifest is None:
            continue
        split = next((str(about.get("split") or "") for about in first.manifest.benchmarks.values()), "")
        problems = first.headline.n_problems if first.headline else 0
        found.append(
            Board(
                title=f"{first.benchmarks}, {split or 'one split'}, {problems:,} problems",
                protocol=f"protocol {short(first.manifest.protocol_hash, 16)}: {sampling(first.manifest.protocol)}",
                compare=links.compare([entry.address for entry in group[-1:] + group[:-1]][:12]),
                rows=[index_row(entry) for entry in group],
            )
        )
    return found
