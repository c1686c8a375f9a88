"""The page of runs that are compared as peers: ranks, pairs, and the problems on which they differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expo_bench.errors import span
from expo_bench.reports.pages import render
from expo_bench.reports.tables import MISSING, Cell, Row, Table
from expo_bench.storage.row_files import write_atomically

Numbers = Mapping[str, Any]


def peers_page(content: Numbers, out: Path) -> Path:
    """Write the page of `peers.json`'s content."""
    pairs = _pair_table(content)
    sections = [{"title": "Pairs", "sentence": f"{content['sentence']} {content['family']}.", "tables": [pairs]}]
    for pair in content["pairs"]:
        if found := _problem_table(pair):
            title = f"{pair['one']} and {pair['other']}: problems on which they differ"
            sections.append({"title": title, "sentence": "", "tables": [found]})
    context = {
        "title": "Which is better?",
        "verdicts": rank_table(content),
        "study": "",
        "notes": [f"{name}: protocol differs in {', '.join(keys)}" for name, keys in differing(content).items()],
        "controls": None,
        "sections": [{"caveats": [], "more": [], "figures": [], "problems": [], **one} for one in sections],
        "runs": [],
    }
    write_atomically(out, render("ledger.html.j2", context))
    return out


def differing(content: Numbers) -> dict[str, list[str]]:
    """Return the runs whose protocol differs from the first one's, with the settings."""
    return {name: keys or ["its hash"] for name, keys in content["protocol_differs_in"].items()}


def rank_table(content: Numbers) -> Table:
    """Return a row a run, best first."""
    rows = []
    for one in content["runs"]:
        first, last = (one["pass_at_k"][k] for k in (min(one["pass_at_k"], key=int), max(one["pass_at_k"], key=int)))
        cells = [_text(one["n"]), _here(first), _like(first), _like(last)]
        cells += [_text(_span(one[key])) for key in ("these_rank", "rank")]
        rows.append(Row(label=one["name"], cells=cells))
    caption = (
        f"Percent on {content['n_problems']} problems, with 95% intervals: for these problems, what other samples of "
        "them would give; for problems like these, new ones from the same source. Ranks: 95% for all at once."
    )
    head = [
        "",
        "n",
        "pass@1, these problems",
        "pass@1, problems like these",
        "pass@n",
        "rank, these",
        "rank, like these",
    ]
    return Table(caption=caption, head=head, rows=rows)


def _pair_table(content: Numbers) -> Table:
    rows = []
    for pair in content["pairs"]:
        change, apart = pair["pass_1"], pair["problems"]
        cells = [
            _points(change, "these_low", "these_high"),
            _text(_p(pair["holm_p_these"])),
            _points(change, "low", "high"),
            _text(_p(pair["holm_p"])),
            _text(f"{apart['one']} / {apart['other']}"),
        ]
        rows.append(Row(label=f"{pair['other']} minus {pair['one']}", cells=cells))
    caption = (
        "Difference of pass@1 in points. Problems: on how many the one, or the other, is better by itself (Fisher's "
        "exact test, Holm over the problems)."
    )
    head = ["", "these problems", "p", "problems like these", "p", "problems won"]
    return Table(caption=caption, head=head, rows=rows)


def _problem_table(pair: Numbers) -> Table | None:
    rows = [
        Row(
            label=one["problem_id"],
            cells=[_text(one["n"]), _text(one["one"]), _text(one["other"]), _text(_p(one["p"]))],
        )
        for one in pair["problems"]["shown"]
    ]
    head = ["Problem", "n", f"right, {pair['one']}", f"right, {pair['other']}", "p"]
    return Table(caption="The surest first", head=head, rows=rows) if rows else None


def _text(value: object) -> Cell:
    return Cell(text=str(value))


def _span(ends: list[int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _here(rate: Numbers) -> Cell:
    return _cell(rate["value"], rate["these_low"], rate["these_high"])


def _like(rate: Numbers) -> Cell:
    return _cell(rate["value"], rate["low"], rate["high"])


def _points(change: Numbers, low: str, high: str) -> Cell:
    return _cell(change["difference"], change[low], change[high], "+")


def _cell(value: float | None, low: float | None, high: float | None, sign: str = "") -> Cell:
    if value is None:
        return Cell(text=MISSING)
    return Cell(text=f"{100 * value:{sign}.1f}", interval=span(low, high, sign=sign))
