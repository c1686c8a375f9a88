"""A ledger as one picture: a square a problem, coloured by what became of it, each a link to its samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expo_bench.reports.text import short
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.sample_pages import CELL_WORDS
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.storage.ledger_folder import LedgerFolder

MOST_SQUARES = 3000
_ORDER = ("trained_only", "base_only", "both", "neither")


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """One problem."""

    cell: str
    words: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One comparison."""

    title: str
    kind: str
    sentence: str
    counts: dict[str, int]
    expected: str
    levels: list[tuple[str, list[Square]]]
    left_out: int


def ledger_context(shelf: Shelf, entry: Entry, crumbs: Any) -> dict[str, Any]:
    """Return what the template of a ledger shows."""
    folder = LedgerFolder(entry.path)
    content, rows = folder.content(), folder.rows()
    runs = {name: _entry(shelf, about) for name, about in content["runs"].items()}
    pictures = []
    for section in content["comparisons"]:
        pair = [runs.get(section["base"]), runs.get(section["trained"])]
        known = [one.address for one in pair if one is not None]
        own = [row for row in rows if (row["base"], row["trained"]) == (section["base"], section["trained"])]
        pictures.append(_picture(section, own, shelf.links.beside(known) if len(known) == 2 else None))
    report = entry.path / "report.html"
    return {
        "title": "Sharpening or new problems?",
        "crumbs": crumbs,
        "tabs": [],
        "tab": "",
        "live": 0,
        "notes": content.get("notes", []),
        "pictures": pictures,
        "words": CELL_WORDS,
        "report": f"{entry.address}/report.html" if report.is_file() else "",
    }


def _entry(shelf: Shelf, about: Mapping[str, Any]) -> Entry | None:
    return shelf.run_at(Path(str(about.get("path", ""))))


def _picture(
    section: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], link: Callable[[str], str] | None
) -> Picture:
    numbers = section["subsets"]["all"]
    levels: dict[str, list[Square]] = {}
    ordered = sorted(rows, key=lambda row: (row["level"] is None, row["level"] or 0, _ORDER.index(row["cell"])))
    for row in ordered[:MOST_SQUARES]:
        name = "No level" if row["level"] is None else f"Level {row['level']}"
        rates = f"{row['base_first']} of {row['n']} before, {row['trained_first']} of {row['n']} after"
        words = f"{short(row['problem_id'], 60)}: {CELL_WORDS[row['cell']]}, {rates}"
        levels.setdefault(name, []).append(
            Square(cell=row["cell"], words=words, link=link(row["problem_id"]) if link else "")
        )
    return Picture(
        title=f"{section['trained']} against {section['base']}",
        kind=section["verdict"].get("kind", section["role"]),
        sentence=section["verdict"]["sentence"],
        counts={cell: numbers["cells"][cell] for cell in _ORDER},
        expected=f"{numbers['null']['expected']:.1f}",
        levels=list(levels.items()),
        left_out=max(len(rows) - MOST_SQUARES, 0),
    )
