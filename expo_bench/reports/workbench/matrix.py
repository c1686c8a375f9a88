"""Problems down, runs across: how many samples of each are right, and which problems are new or lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from expo_bench.reports.text import short
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.links import ProblemLink
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.rows import Problem

PAGE = 500
MOST_RUNS = 12
KINDS = {"": "all", "new": "new: the first run solves none, another does", "lost": "lost: another solves none",
         "same": "neither"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """One run on one problem."""

    n: int
    c: int
    mark: str
    """"new", "lost" or nothing, against the first run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One problem."""

    problem_id: str
    teaser: str
    level: str
    kind: str
    link: str
    cells: list[MatrixCell]


def matrix_context(
    shelf: Shelf,
    entries: Sequence[Entry],
    query: Mapping[str, str],
    link: ProblemLink,
    own: str,
    crumbs: Any,
    tabs: Any,
    page: int = PAGE,
) -> dict[str, Any]:
    """Return what the template of the matrix shows; the first run is the base.

    Args:
        shelf: where the runs' indexes are.
        entries: the runs, one at least.
        query: `level`, `kind`, and `from` of a long list.
        link: where a click on a problem leads.
        own: address of this page with its runs, to which a query is added.
        crumbs: the way to the page.
        tabs: views of the run, where there is one.
        page: problems of a page.
    """
    everything = _rows(shelf, entries[:MOST_RUNS], link)
    level, kind = query.get("level", ""), query.get("kind", "")
    kept = [row for row in everything if level in ("", row.level) and (kind not in KINDS or kind in ("", row.kind))]
    first = int(query.get("from", "0")) if query.get("from", "0").isdigit() else 0
    several = len(entries) > 1
    counted = {name: sum(row.kind == name for row in everything) for name in ("new", "lost")}
    told = f"{len(kept):,} of {len(everything):,} problems"
    if several:
        told += f"; {counted['new']} new and {counted['lost']} lost against {entries[0].name}"
    levels = sorted({row.level for row in everything if row.level}, key=lambda text: (len(text), text))
    more = {name: value for name, value in (("level", level), ("kind", kind)) if value}
    joint = "&" if "?" in own else "?"
    return {
        "title": "Problem by problem" if several else f"{entries[0].name}: problems",
        "crumbs": crumbs,
        "tabs": tabs,
        "tab": "Problems",
        "live": 3 if any(entry.state == "running" for entry in entries) else 0,
        "own": own,
        "runs": [
            (short(entry.name, 60), f"{entry.address}/index.html", entry.address) for entry in entries[:MOST_RUNS]
        ],
        "several": several,
        "rows": kept[first : first + page],
        "levels": [("", "all"), *((one, one) for one in levels)],
        "kinds": list(KINDS.items()),
        "level": level,
        "kind": kind,
        "told": told + ".",
        "later": f"{own}{joint}{urlencode({**more, 'from': first + page})}" if first + page < len(kept) else None,
    }


def _rows(shelf: Shelf, entries: Sequence[Entry], link: ProblemLink) -> list[MatrixRow]:
    problems: dict[str, Problem] = {}
    counts: list[dict[str, tuple[int, int]]] = []
    for entry in entries:
        index = shelf.index(entry)
        n, c = index.problem_counts()
        counts.append(
            {one.problem_id: (int(n[at]), int(c[at])) for at, one in enumerate(index.problems) if at < len(n)}
        )
        problems |= {one.problem_id: one for one in index.problems}
    rows = []
    for problem_id, problem in problems.items():
        own = [one.get(problem_id, (0, 0)) for one in counts]
        cells = [MatrixCell(n=n, c=c, mark=_mark(own[0], (n, c)) if at else "") for at, (n, c) in enumerate(own)]
        marks = {cell.mark for cell in cells}
        kind = "new" if "new" in marks else "lost" if "lost" in marks else "same"
        rows.append(
            MatrixRow(
                problem_id=short(problem_id, 60),
                teaser=short(problem.question, 90),
                level="" if problem.level is None else str(problem.level),
                kind=kind,
                link=link(problem_id),
                cells=cells,
            )
        )
    order = {"new": 0, "lost": 1, "same": 2}
    return sorted(rows, key=lambda row: (order[row.kind], _rate(row.cells[0]), row.problem_id))


def _mark(base: tuple[int, int], other: tuple[int, int]) -> str:
    if not base[0] or not other[0] or (base[1] > 0) == (other[1] > 0):
        return ""
    return "new" if other[1] else "lost"


def _rate(cell: MatrixCell) -> float:
    return cell.c / cell.n if cell.n else 2.0
