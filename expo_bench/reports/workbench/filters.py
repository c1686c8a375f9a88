"""Which samples of a run a reader wants to see, and in which order: an address's query in, rows out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.rows import STATUSES
from expo_bench.storage.sample_index import SampleIndex, Table

Bools = NDArray[np.bool_]
VERDICTS = ("correct", "wrong", *(status for status in STATUSES if status != "graded"), "not graded yet")
SORTS = {
    "": "as they were drawn",
    "problem": "problem",
    "level": "level, low first",
    "-level": "level, high first",
    "tokens": "length, short first",
    "-tokens": "length, long first",
    "rate": "problem's rate, low first",
    "-rate": "problem's rate, high first",
    "agreement": "agreement, low first",
    "-agreement": "agreement, high first",
}
PLACES = {"": "sample", "question": "question", "answer": "answer given"}
SEARCH_SECONDS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is asked for; an empty text asks for nothing."""

    q: str = ""
    where: str = ""
    benchmark: str = ""
    level: str = ""
    subject: str = ""
    verdict: str = ""
    least: str = ""
    """Tokens."""
    most: str = ""
    agreement: str = ""
    """Share of the problem's samples with the same answer, percent, at most."""
    guessable: str = ""
    cell: str = ""
    sort: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Filter":
        """Return the filter of an address; what is no value of a field is left out."""
        known = {one.name: query.get(one.name, "")[:500].strip() for one in fields(cls)}
        known["sort"] = known["sort"] if known["sort"] in SORTS else ""
        known["where"] = known["where"] if known["where"] in PLACES else ""
        return cls(**known)

    def query(self) -> dict[str, str]:
        """Return what goes into an address."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows of the table, in order, and how far they were looked for."""

    rows: NDArray[np.intp]
    searched: float
    """Share of the texts."""


def apply(index: SampleIndex, wanted: Filter, cells: Mapping[str, Mapping[str, Any]] | None = None) -> Found:
    """Return the rows that a filter lets through.

    Args:
        index: as far as it was read.
        wanted: the filter.
        cells: problem id -> its row in a ledger.
    """
    table = index.table()
    chosen = _problems(index, wanted, cells or {})
    kept = np.ones(len(table.problem), dtype=np.bool_) if chosen is None else chosen[table.problem]
    kept &= _verdict(table, wanted.verdict)
    if (least := _number(wanted.least)) is not None:
        kept &= table.tokens >= least
    if (most := _number(wanted.most)) is not None:
        kept &= (table.tokens >= 0) & (table.tokens <= most)
    if (share := _number(wanted.agreement)) is not None:
        kept &= table.agreement <= share / 100
    searched = 1.0
    if wanted.q and wanted.where != "question":
        hits, searched = _search(index, table, wanted)
        kept &= hits
    rows = np.flatnonzero(kept)
    return Found(rows=rows[_order(index, table, rows, wanted.sort)], searched=searched)


def _search(index: SampleIndex, table: Table, wanted: Filter) -> tuple[Bools, float]:
    if wanted.where != "answer":
        return index.samples.search(wanted.q, SEARCH_SECONDS)
    hits, share = index.grades.search(wanted.q, SEARCH_SECONDS)
    return np.where(table.grade >= 0, hits[table.grade] if len(hits) else False, False), share


def _problems(index: SampleIndex, wanted: Filter, cells: Mapping[str, Mapping[str, Any]]) -> Bools | None:
    """Return which problems are let through; None where that is every one."""
    tests: list[Callable[[Any], bool]] = []
    if wanted.benchmark:
        tests.append(lambda problem: problem.benchmark == wanted.benchmark)
    if wanted.level:
        tests.append(lambda problem: str(problem.level) == wanted.level)
    if wanted.subject:
        tests.append(lambda problem: wanted.subject in (problem.subject, *problem.domain))
    if wanted.q and wanted.where == "question":
        words = wanted.q.casefold()
        tests.append(lambda problem: words in problem.question.casefold())
    if wanted.cell:
        tests.append(lambda problem: cells.get(problem.problem_id, {}).get("cell") == wanted.cell)
    if wanted.guessable:
        told = wanted.guessable == "yes"
        tests.append(lambda problem: cells.get(problem.problem_id, {}).get("guessable") is told)
    if not tests:
        return None
    found = [all(test(problem) for test in tests) for problem in index.problems]
    # problems that only rows know of
    return np.array(found + [False] * (len(index.places) - len(found)), dtype=np.bool_)


def _verdict(table: Table, verdict: str) -> Bools | bool:
    graded = STATUSES.index("graded")
    if verdict in ("correct", "wrong"):
        return np.asarray((table.status == graded) & (table.correct == (verdict == "correct")))
    if verdict == "not graded yet":
        return np.asarray(table.status < 0)
    return np.asarray(table.status == STATUSES.index(verdict)) if verdict in STATUSES else True


def _order(index: SampleIndex, table: Table, rows: NDArray[np.intp], sort: str) -> NDArray[np.intp]:
    name = sort.removeprefix("-")
    if not name:
        return np.arange(len(rows))
    place = table.problem[rows]
    if name == "problem":
        return np.asarray(np.lexsort((table.sample[rows], place)))
    if name == "level":
        keys = _by_problem(index, [problem.level for problem in index.problems])[place]
    elif name == "rate":
        n, c = index.problem_counts()
        keys = np.where(n > 0, c / np.maximum(n, 1), np.nan)[place]
    else:
        keys = (table.tokens if name == "tokens" else table.agreement)[rows].astype(np.float64)
    # what is not known comes last either way
    return np.argsort(np.where(np.isnan(keys), np.inf, -keys if sort.startswith("-") else keys), kind="stable")


def _by_problem(index: SampleIndex, values: Sequence[int | None]) -> NDArray[np.float64]:
    known = [np.nan if value is None else float(value) for value in values]
    return np.array(known + [np.nan] * (len(index.places) - len(known)))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
