"""The page of one run: what its report shows, and how it goes while it is drawn."""

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from expo_bench.errors import UserError, span
from expo_bench.reports.figures import drawings
from expo_bench.reports.pages import figure
from expo_bench.reports.reporting import tiles
from expo_bench.reports.result_tables import metrics_table, result_tables, share_table, shown_subsets
from expo_bench.reports.run_views import RunView, facts, manifest_groups, notes
from expo_bench.reports.tables import Cell, MetricTable, Row, Table
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.reports.workbench.verdicts import Provisional
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.sample_index import Ints, SampleIndex

LIVE_SECONDS = 2
Tiles = list[dict[str, str]]


class RunPages:
    """Pages of runs; figures are drawn once for each state of the metrics."""

    def __init__(self, shelf: Shelf, provisional: Provisional) -> None:
        self._shelf, self._provisional = shelf, provisional
        self._drawn: OrderedDict[tuple[str, float], list[dict[str, str]]] = OrderedDict()

    def context(self, entry: Entry) -> dict[str, Any]:
        """Return what the template of a run shows."""
        crumbs = crumbs_of(self._shelf, entry)
        common = {"title": entry.name, "crumbs": crumbs, "entry": entry, "tabs": tabs(entry), "tab": "Overview"}
        lists = ("notes", "tiles", "results", "shares", "metrics", "figures", "progress", "manifest", "run_facts")
        empty: dict[str, Any] = {**{name: [] for name in lists}, "by_level": None, "ledgers": [], "live": 0}
        if entry.manifest is None:
            return {**common, **empty, "lead": entry.reason}
        view = run_view(entry)
        ledgers = [(one.name, f"{one.address}/index.html") for one, _, _ in self._shelf.ledgers(entry)]
        known = {
            "notes": notes([view]) if entry.headline else [],
            "run_facts": facts(view, self._shelf.index(entry, 0).grader),
            "manifest": manifest_groups(view),
            "ledgers": list(dict.fromkeys(ledgers)),
        }
        if entry.headline is None or entry.state != "finished":
            known |= self._running(entry)
        else:
            known["lead"] = f"{entry.model} on {entry.benchmarks}."
        if entry.headline is not None:
            subsets = shown_subsets([view])
            known |= {
                "tiles": tiles(view),
                "results": result_tables([view]),
                "shares": [share_table(view, subsets)],
                "metrics": [metrics_table(view)],
                "figures": self._figures(entry, view),
            }
        return {**common, **empty, **known}

    def _figures(self, entry: Entry, view: RunView) -> list[dict[str, str]]:
        key = (entry.address, view.folder.metrics_path.stat().st_mtime)
        if key not in self._drawn:
            self._drawn[key] = [figure(one) for one in drawings.draw([view])]
            while len(self._drawn) > 8:
                self._drawn.popitem(last=False)
        return self._drawn[key]

    def _running(self, entry: Entry) -> dict[str, Any]:
        """Return how far an unfinished run is, and how it does as far as that can be told."""
        index = self._shelf.index(entry)
        done, total = len(index.samples), _wanted(index)
        n, c = index.problem_counts()
        told = "of the samples that are graded"
        if n.sum() < done:
            n, c = self._provisional.counts(entry, index)
            told = "judged here as they come; the run's own verdicts follow when all are drawn"
        rate = self._shelf.rate(entry, done) if entry.state == "running" else None
        shown: Tiles = [{"label": "Samples", "value": f"{done:,}", "unit": "", "what": _of(done, total)}]
        if entry.state == "running":
            speed = "–" if rate is None else f"{rate:.3g}"
            shown.append({"label": "Samples a second", "value": speed, "unit": "", "what": "Over the last minute."})
            shown.append({"label": "Time left", "value": _left(total - done, rate), "unit": "", "what": _since(entry)})
        shown.append(self._accuracy(n, c, told))
        lead = {
            "running": f"{entry.model} on {entry.benchmarks}, while it is drawn.",
            "stopped": f"Stopped, or of another machine. Go on with: expo-bench eval --resume {entry.path}",
        }.get(entry.state, entry.reason or "No metrics yet.")
        return {
            "lead": lead,
            "progress": shown,
            "by_level": self._by_level(index, n, c),
            "live": LIVE_SECONDS if entry.state == "running" or index.share < 1 else 0,
        }

    def _accuracy(self, n: Ints, c: Ints, told: str) -> dict[str, str]:
        some = n > 0
        tile = {"label": "Correct so far", "value": "–", "unit": "", "what": "No verdict yet."}
        if some.any():
            value, low, high = self._shelf.estimate(n[some], c[some])
            tile["value"], tile["unit"] = f"{100 * value:.1f}", "%"
            problems = f"{int(some.sum()):,} problems, {int(n.sum()):,} samples"
            tile["what"] = f"95% interval for problems like these {_interval(low, high)}; {problems}, {told}."
        return tile

    def _by_level(self, index: SampleIndex, n: Ints, c: Ints) -> Table | None:
        levels = sorted({problem.level for problem in index.problems if problem.level is not None})
        rows = []
        for level in levels if len(levels) > 1 else ():
            own = np.zeros(len(n), dtype=np.bool_)
            for place, problem in enumerate(index.problems):
                own[place] = problem.level == level and n[place] > 0
            if own.any():
                value, low, high = self._shelf.estimate(n[own], c[own])
                cells = [Cell(text=f"{own.sum():,}"), Cell(text=f"{n[own].sum():,}")]
                cells.append(Cell(text=f"{100 * value:.1f}", interval=_interval(low, high)))
                rows.append(Row(label=f"Level {level}", cells=cells, depth=1))
        head = ["", "problems", "samples", "correct so far, %"]
        return (
            Table(caption="So far, by level, with 95% intervals for problems like these", head=head, rows=rows)
            if rows
            else None
        )


def run_view(entry: Entry) -> RunView:
    """Return a run as the reports take it.

    Raises:
        UserError: its metrics are damaged.
    """
    if entry.manifest is None:
        raise UserError(entry.reason)
    folder = RunFolder(entry.path)
    return RunView(
        folder=folder, manifest=entry.manifest, metrics=MetricTable(folder.metrics()), position=0, letter="",
        label=entry.model,
    )  # fmt: skip


def tabs(entry: Entry) -> list[tuple[str, str]]:
    """Return the views of a run."""
    run = RunFolder(entry.path)
    found = [("Overview", f"{entry.address}/index.html")]
    if run.problems_path.is_file():
        found.append(("Samples", f"{entry.address}/samples.html"))
        found.append(("Problems", f"{entry.address}/problems.html"))
    if run.likelihood_metrics_path.is_file() and run.candidates_path.is_file():
        found.append(("Likelihood", f"{entry.address}/plane.html"))
    if run.report_path.is_file():
        found.append(("Report", f"{entry.address}/report.html"))
    return found


def crumbs_of(shelf: Shelf, entry: Entry, *more: str) -> list[tuple[str, str]]:
    """Return the way to a page: each folder above it that has a page of its own, the entry, and what is inside."""
    parts = entry.address.split("/")
    found = []
    for end in range(1, len(parts)):
        if above := shelf.entry("/".join(parts[:end])):
            found.append((above.path.name, f"{above.address}/index.html"))
    found.append((entry.path.name, f"{entry.address}/index.html" if more else ""))
    return [*found, *((name, "") for name in more)]


def _wanted(index: SampleIndex) -> int:
    n = index.run.settings().get("n")
    return len(index.problems) * n if isinstance(n, int) else 0


def _of(done: int, total: int) -> str:
    return f"Of {total:,}: {done / total:.0%}." if total else "Nobody has said of how many."


def _left(samples: int, rate: float | None) -> str:
    if rate is None or samples < 0:
        return "–"
    seconds = samples / rate
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def _since(entry: Entry) -> str:
    moment = datetime.fromtimestamp(entry.changed, UTC)
    return f"Last row written at {moment:%H:%M:%S} UTC."


def _interval(low: float, high: float) -> str:
    return "not known with one problem" if np.isnan(low) else span(low, high)
