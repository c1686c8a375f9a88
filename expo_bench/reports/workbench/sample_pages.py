"""Samples of a run in a list, and one problem with what each run made of it."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np

from expo_bench.errors import UserError
from expo_bench.reports.figures.heat import HeatChain, chain_tokens, step_labels
from expo_bench.reports.likelihood_views import number
from expo_bench.reports.result_tables import STATUS_WORDS
from expo_bench.reports.text import Excerpt, excerpt, short
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.filters import PLACES, SORTS, VERDICTS, Filter, apply
from expo_bench.reports.workbench.run_page import crumbs_of, tabs
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.rows import STATUSES, Problem
from expo_bench.storage.run_folder import file_name
from expo_bench.storage.sample_index import SampleIndex, Table

PAGE = 50
PIECE = 2000
"""Samples that the list of a site loads at once."""
_TEXT_LIMIT = 200_000
_MARKED_WORDS = 1500
_CELLS = ("trained_only", "base_only", "both", "neither")
CELL_WORDS = {"trained_only": "new", "base_only": "lost", "both": "both", "neither": "neither"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """One sample in a list."""

    link: str
    teaser: str
    level: str
    sample: int
    outcome: str
    verdict: str
    extracted: str
    tokens: str
    agreement: str


def samples_context(shelf: Shelf, entry: Entry, query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the template of the list shows: one page of the rows that the query's filter lets through."""
    index = shelf.index(entry)
    wanted = Filter.read(query)
    cells = shelf.cells(entry)
    found = apply(index, wanted, cells)
    first = max(0, int(query.get("from", "0")) if query.get("from", "0").isdigit() else 0)
    shown = found.rows[first : first + PAGE]
    own = f"{entry.address}/samples.html"
    return {
        "title": f"{entry.name}: samples",
        "crumbs": crumbs_of(shelf, entry, "Samples"),
        "tabs": tabs(entry),
        "tab": "Samples",
        # what goes on by itself is asked for again at once: each answer reads for a while
        "live": 0.1 if found.searched < 1 or index.share < 1 else 3 if entry.state == "running" else 0,
        "own": own,
        "filter": wanted,
        "places": list(PLACES.items()),
        "sorts": list(SORTS.items()),
        "picks": picks(index, wanted, cells),
        "told": _told(index, len(found.rows), first, len(shown), found.searched),
        "rows": sample_rows(entry, index, shown.tolist()),
        "pieces": -(-len(index.samples) // PIECE),
        "total": len(index.samples),
        "earlier": _page(own, wanted, first - PAGE) if first else None,
        "later": _page(own, wanted, first + PAGE) if first + PAGE < len(found.rows) else None,
    }


def picks(index: SampleIndex, wanted: Filter, cells: Mapping[str, Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return the filters with a few values each: name, label, values with their words."""
    problems = index.problems
    levels = sorted({problem.level for problem in problems if problem.level is not None})
    subjects = {name for problem in problems for name in (problem.subject, *problem.domain) if name}
    found = [
        ("benchmark", "Benchmark", _named(sorted({problem.benchmark for problem in problems}))),
        ("level", "Level", _named([str(level) for level in levels])),
        ("subject", "Subject", _named(sorted(subjects)[:200])),
        ("verdict", "Verdict", [(name, STATUS_WORDS.get(name, name)) for name in VERDICTS]),
    ]
    if cells:
        found.append(("cell", "Ledger", [(cell, CELL_WORDS[cell]) for cell in _CELLS]))
    if any(row.get("guessable") is not None for row in cells.values()):
        found.append(("guessable", "Guessable", [("yes", "yes"), ("no", "no")]))
    several = [one for one in found if len(one[2]) > 1 or one[0] == "verdict"]
    return [(name, label, [("", "all"), *values]) for name, label, values in several]


def _named(values: Sequence[str]) -> list[tuple[str, str]]:
    return [(value, short(value, 60)) for value in values]


def _told(index: SampleIndex, count: int, first: int, shown: int, searched: float) -> str:
    total = len(index.samples)
    part = f"{first + 1:,} to {first + shown:,} of " if shown else ""
    told = f"{part}{count:,} samples; the run has {total:,}."
    if index.share < 1:
        told += f" The files were read to {index.share:.0%} so far; it goes on by itself."
    if searched < 1:
        told += f" {searched:.0%} of the texts were searched so far; it goes on by itself."
    return told


def _page(own: str, wanted: Filter, first: int) -> str:
    return f"{own}?{urlencode({**wanted.query(), 'from': max(first, 0)})}"


def sample_rows(entry: Entry, index: SampleIndex, rows: Sequence[int]) -> list[SampleRow]:
    """Return these rows of the table in the words of the page."""
    table = index.table()
    verdicts = _verdicts(index, table, rows)
    found = []
    for row, (outcome, words, extracted) in zip(rows, verdicts, strict=True):
        place = int(table.problem[row])
        problem = index.problems[place] if place < len(index.problems) else None
        name = problem.problem_id if problem else list(index.places)[place]
        tokens, share = int(table.tokens[row]), float(table.agreement[row])
        found.append(
            SampleRow(
                link=f"{problem_link(entry, name)}#sample-{table.sample[row]}",
                teaser=short(problem.question, 120) if problem else short(name, 120),
                level="" if problem is None or problem.level is None else str(problem.level),
                sample=int(table.sample[row]),
                outcome=outcome,
                verdict=words,
                extracted=short(extracted, 80),
                tokens=f"{tokens:,}" if tokens >= 0 else "–",
                agreement="–" if np.isnan(share) else f"{100 * share:.0f}",
            )
        )
    return found


def problem_link(entry: Entry, problem_id: str) -> str:
    """Return the address of a problem's page in a run."""
    return f"{entry.address}/problems/{quote(file_name(problem_id), safe='')}.html"


def _verdicts(index: SampleIndex, table: Table, rows: Sequence[int]) -> list[tuple[str, str, str]]:
    """Return outcome, words and the extracted answer of each row."""
    graded = [int(table.grade[row]) for row in rows if table.grade[row] >= 0]
    read = dict(zip(graded, index.grades.rows(graded), strict=True))
    found = []
    for row in rows:
        status = int(table.status[row])
        if status < 0:
            found.append(("ungraded", "not graded yet", ""))
            continue
        name: str = STATUSES[status]
        if name == "graded":
            name = "correct" if table.correct[row] else "wrong"
        outcome = name if name in ("correct", "wrong") else "ungraded"
        found.append((outcome, STATUS_WORDS[name], str(read[int(table.grade[row])].get("extracted") or "")))
    return found


# one problem


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleView:
    """One sample with its text."""

    index: int
    outcome: str
    verdict: str
    extracted: str
    meta: str
    error: str
    link: str
    text: Excerpt
    open: bool
    tokens: HeatChain | None
    """Token by token, where the sample was scored."""
    marked: list[tuple[str, bool]]
    """The text in parts, with those marked that the first run's sample does not have; empty where nothing is marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunColumn:
    """What one run made of the problem."""

    name: str
    link: str
    anchor: str
    solved: str
    samples: list[SampleView]


def find_problem(index: SampleIndex, name: str) -> Problem | None:
    """Return the problem whose page has this name."""
    return next((problem for problem in index.problems if file_name(problem.problem_id) == name), None)


def problem_context(
    shelf: Shelf, entries: Sequence[Entry], problem: Problem, crumbs: list[tuple[str, str]], prompt: str = ""
) -> dict[str, Any]:
    """Return what the template of one problem shows, a column for each run.

    Args:
        shelf: where the runs' indexes are.
        entries: runs; the first is the one that others are marked against.
        problem: the problem.
        crumbs: the way to this page.
        prompt: address of the prompt as it was sent.
    """
    several = len(entries) > 1
    columns = [_column(shelf, entry, problem.problem_id, f"{number}-" if several else "")
               for number, entry in enumerate(entries)]  # fmt: skip
    where = [problem.benchmark, None if problem.level is None else f"level {problem.level}", problem.subject]
    return {
        "title": short(problem.problem_id, 80),
        "crumbs": crumbs,
        "tabs": [],
        "tab": "",
        "live": 0,
        "where": " · ".join(short(str(part), 80) for part in where if part),
        "steps": step_labels(),
        "problem": {
            "question": excerpt(problem.question, _TEXT_LIMIT),
            "answer": excerpt(problem.answer, _TEXT_LIMIT),
            "solution": None if problem.solution is None else excerpt(problem.solution, _TEXT_LIMIT),
        },
        "prompt": prompt,
        "runs": _marked(columns) if several else columns,
        "neighbours": [],
    }


def _column(shelf: Shelf, entry: Entry, problem_id: str, anchor: str) -> RunColumn:
    index = shelf.index(entry)
    table = index.table()
    place = index.places.get(problem_id)
    rows = np.flatnonzero(table.problem == place) if place is not None else np.zeros(0, dtype=np.intp)
    rows = rows[np.argsort(table.sample[rows], kind="stable")]
    scored = _scored(shelf, entry, problem_id)
    samples = []
    read = zip(index.samples.rows(rows.tolist()), _verdicts(index, table, rows.tolist()), strict=True)
    for position, (sample, (outcome, words, extracted)) in enumerate(read):
        link = f"{problem_link(entry, problem_id)}#sample-{sample['sample_index']}"
        samples.append(
            SampleView(
                index=sample["sample_index"],
                outcome=outcome,
                verdict=words,
                extracted=short(extracted, 120),
                meta=_meta(sample),
                error=short(sample.get("error") or "", 300),
                link=link,
                text=excerpt(sample["text"], _TEXT_LIMIT),
                open=position == 0 and bool(anchor),
                tokens=scored.get((sample["sample_index"], sample["text"])),
                marked=[],
            )
        )
    right = sum(sample.outcome == "correct" for sample in samples)
    solved = f"{right} of {len(samples)} correct" if samples else "no sample"
    return RunColumn(
        name=short(entry.name, 80), link=f"{entry.address}/index.html", anchor=anchor, solved=solved, samples=samples
    )


def _scored(shelf: Shelf, entry: Entry, problem_id: str) -> dict[tuple[int, str], HeatChain]:
    """Return a problem's samples that were scored as candidates, by index and text, token by token."""
    view = shelf.chains(entry)
    own = re.compile(r"own-(\d+)")
    places = {
        (int(match[1]), one.candidate.text): one
        for one in (view.scored if view else ())
        if one.problem.problem_id == problem_id and (match := own.fullmatch(one.candidate.candidate_id))
    }
    try:
        return dict(zip(places, chain_tokens(view, list(places.values())), strict=True)) if view and places else {}
    except (UserError, ImportError):
        # the tokenizer is not at hand; the page of the chain says so
        return {}


def _meta(sample: Mapping[str, Any]) -> str:
    parts = [f"sample {sample['sample_index']}"]
    if sample["n_tokens"] is not None:
        parts.append(f"{sample['n_tokens']:,} tokens")
    if sample["finish_reason"] == "length":
        parts.append("ended at the length limit")
    if sample.get("sum_logprob") is not None and sample["n_tokens"]:
        parts.append(f"{number(sample['sum_logprob'] / sample['n_tokens'])} nats a token")
    if sample["seed"] is not None:
        parts.append(f"seed {sample['seed']}")
    return " · ".join(parts)


def _marked(columns: Sequence[RunColumn]) -> list[RunColumn]:
    """Mark in the first sample of each run what the first sample of the first run does not have."""
    if not columns[0].samples:
        return list(columns)
    base = _words(columns[0].samples[0].text.head)
    found = [columns[0]]
    for column in columns[1:]:
        samples = list(column.samples)
        if samples and len(base) <= _MARKED_WORDS:
            own = _words(samples[0].text.head)
            if len(own) <= _MARKED_WORDS and not samples[0].text.left_out:
                samples[0] = replace(samples[0], marked=_parts(base, own))
        found.append(replace(column, samples=samples))
    return found


def _words(text: str) -> list[str]:
    return re.findall(r"\s+|\w+|[^\w\s]", text)


def _parts(base: list[str], own: list[str]) -> list[tuple[str, bool]]:
    matcher = difflib.SequenceMatcher(None, base, own, autojunk=True)
    return [("".join(own[low:high]), tag != "equal") for tag, _, _, low, high in matcher.get_opcodes() if high > low]
