"""The workbench as a site of files, to be put on a file server or a hub Space and sent as a link."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from expo_bench.errors import UserError
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.links import SiteLinks
from expo_bench.reports.workbench.pages_of import Pages
from expo_bench.reports.workbench.plane import MOST_MARKS, chain_name
from expo_bench.reports.workbench.sample_pages import PIECE, sample_rows
from expo_bench.reports.workbench.shelf import Estimate, Shelf
from expo_bench.rows import Problem
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder, file_name
from expo_bench.storage.sample_index import SampleIndex


def write_site(root: Path, out: Path, estimate: Estimate, advance: Callable[[str], None] = lambda _: None) -> int:
    """Write the site of a folder of runs; return the number of pages.

    Args:
        root: folder of runs.
        out: folder of the site, empty or not there yet.
        estimate: see `Shelf`.
        advance: told of each entry.

    Raises:
        UserError: `out` holds something, or lies in `root`.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: name another folder for the site, or delete it")
    if root.resolve() in (out.resolve(), *out.resolve().parents):
        raise UserError(f"{out} lies in {root}, whose pages it would hold: name a folder outside of it")
    links = SiteLinks()
    shelf = Shelf(root, estimate, links)
    pages = Pages(shelf, f"{datetime.now(UTC):%Y-%m-%d}")
    try:
        count = 0
        for address in _addresses(shelf, links, out, advance):
            page = pages.page(address, {})
            if page is not None:
                write_atomically(out / unquote(address), page.encode(errors="replace"))
                count += 1
        return count
    finally:
        pages.close()


def _addresses(shelf: Shelf, links: SiteLinks, out: Path, advance: Callable[[str], None]) -> Iterator[str]:
    yield "index.html"
    for entry in shelf.entries():
        advance(entry.name)
        yield f"{entry.address}/index.html"
        yield from _of_run(shelf, entry, out) if entry.kind == "run" else _of_training(shelf, entry)
        report = entry.path / "report.html"
        if entry.kind != "run" and report.is_file():
            _copy(report, out / unquote(entry.address) / "report.html")
    written: set[str] = set()
    while left := [name for name in links.sets if name not in written]:
        for name in left:
            written.add(name)
            yield f"{name}.html"
            first = shelf.entry(links.sets[name][0], "run")
            for problem in shelf.index(first, 3600).problems if first else ():
                yield f"{name}/{quote(file_name(problem.problem_id), safe='')}.html"


def _of_run(shelf: Shelf, entry: Entry, out: Path) -> Iterator[str]:
    run = RunFolder(entry.path)
    if run.report_path.is_file():
        _copy(run.report_path, out / unquote(entry.address) / "report.html")
    if not run.problems_path.is_file():
        return
    index = shelf.index(entry, 3600)
    _write_pieces(entry, index, shelf.cells(entry), out)
    yield f"{entry.address}/samples.html"
    yield f"{entry.address}/problems.html"
    for problem in index.problems:
        name = quote(file_name(problem.problem_id), safe="")
        yield f"{entry.address}/problems/{name}.html"
        yield f"{entry.address}/prompts/{name}.html"
    if run.likelihood_metrics_path.is_file() and run.candidates_path.is_file():
        yield f"{entry.address}/plane.html"
        view = shelf.chains(entry)
        for one in view.scored[:MOST_MARKS] if view else ():
            yield f"{entry.address}/chains/{chain_name(one)}.html"


def _of_training(shelf: Shelf, entry: Entry) -> Iterator[str]:
    if entry.kind == "training":
        steps = shelf.rollouts(entry, 3600).columns["step"]
        for step in sorted({int(one) for one in steps}):
            yield f"{entry.address}/rollouts/{step}.html"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write_pieces(entry: Entry, index: SampleIndex, cells: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Write the list of samples in pieces, which its page loads as it needs them; texts are in the problems' pages."""
    table = index.table()
    folder = out / unquote(entry.address) / "samples"
    more = {problem.problem_id: _more(problem, cells.get(problem.problem_id, {})) for problem in index.problems}
    n, c = index.problem_counts()
    names = list(index.places)
    for number, first in enumerate(range(0, len(table.problem), PIECE)):
        rows: list[dict[str, Any]] = []
        places = list(range(first, min(first + PIECE, len(table.problem))))
        for place, row in zip(places, sample_rows(entry, index, places), strict=True):
            problem_id = names[int(table.problem[place])]
            link = row.link.removeprefix(f"{entry.address}/")
            at = int(table.problem[place])
            rate = c[at] / n[at] if n[at] else None
            own = {**asdict(row), "link": link, "rate": rate, **more.get(problem_id, {})}
            rows.append(own)
        write_atomically(folder / f"{number}.json", json.dumps(rows, ensure_ascii=False).encode(errors="replace"))


def _more(problem: Problem, cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the list is filtered by beside what it shows."""
    guessable = cell.get("guessable")
    return {
        "problem": problem.problem_id,
        "benchmark": problem.benchmark,
        "subjects": [name for name in (problem.subject, *problem.domain) if name],
        "cell": cell.get("cell", ""),
        "guessable": "" if guessable is None else "yes" if guessable else "no",
    }
