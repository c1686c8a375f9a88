"""The page of a set of thoughts: what is in it, what was left out, and a few of them to read."""

import hashlib
from pathlib import Path
from typing import Any

from expo_bench.reports.pages import flatten, render
from expo_bench.reports.tables import Cell, Row, Table
from expo_bench.reports.text import excerpt, short
from expo_bench.rows import Thought
from expo_bench.storage.row_files import write_atomically
from expo_bench.thoughts.dataset import ThoughtFolder
from expo_bench.thoughts.format import reflections, split

_SHOWN = 12
_LIMIT, _TAIL = 4000, 1500


def thoughts_page(folder: ThoughtFolder) -> Path:
    """Write report.html of a set and return its path.

    Raises:
        UserError: the folder holds no whole set.
    """
    manifest = folder.manifest()
    rows = sorted(folder.rows(), key=lambda row: hashlib.sha256(row.thought_id.encode()).digest())
    counts = manifest["counts"]
    context = {
        "title": f"Thoughts: {folder.path.resolve().name}",
        "lead": f"{counts['thoughts']:,} thoughts on {counts['problems']:,} problems.",
        "facts": _facts(rows),
        "tables": [_table(name, counts[name]) for name in ("source", "level", "round")],
        "left_out": _table("reason", manifest["left_out"]) if manifest["left_out"] else None,
        "shown": [_shown(row) for row in rows[:_SHOWN]],
        "settings": [(short(name, 80), short(str(value), 200)) for name, value in flatten(manifest["settings"])],
        "parent": manifest["parent"],
        "digest": manifest["digest"],
    }
    write_atomically(folder.report_path, render("thoughts.html.j2", context))
    return folder.report_path


def _facts(rows: list[Thought]) -> list[tuple[str, str]]:
    thoughts = [parts.thought for row in rows if (parts := split(row.text))]
    lengths = sorted(row.n_tokens for row in rows if row.n_tokens is not None)
    scored = sorted(row.perplexity for row in rows if row.perplexity is not None)
    facts = [
        ("words of a thought, median", f"{_median([len(text.split()) for text in thoughts]):,.0f}"),
        ("reflections of a thought, mean", f"{sum(map(reflections, thoughts)) / max(len(thoughts), 1):.2f}"),
    ]
    if lengths:
        facts.append(("tokens, median and longest", f"{_median(lengths):,.0f} and {lengths[-1]:,}"))
    if scored:
        facts.append(
            ("perplexity, lowest, median, highest", f"{scored[0]:.3g}, {_median(scored):.3g}, {scored[-1]:.3g}")
        )
    return facts


def _median(values: list[Any]) -> float:
    ranked = sorted(values)
    middle = len(ranked) // 2
    return (
        0.0 if not ranked else float(ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2)
    )


def _table(name: str, counts: dict[str, int]) -> Table:
    rows = [Row(label=short(label, 120), cells=[Cell(text=f"{count:,}")]) for label, count in counts.items()]
    caption = "Left out, by the first reason that held" if name == "reason" else f"By {name}"
    return Table(caption=caption, head=[name.capitalize(), "thoughts"], rows=rows)


def _shown(row: Thought) -> dict[str, Any]:
    about = [row.source, f"round {row.round}", "" if row.level is None else f"level {row.level}", row.origin]
    if row.n_tokens is not None:
        about.append(f"{row.n_tokens:,} tokens")
    if row.perplexity is not None:
        about.append(f"perplexity {row.perplexity:.3g}")
    return {
        "teaser": short(row.question, 160),
        "about": " · ".join(short(part, 80) for part in about if part),
        "question": excerpt(row.question, _LIMIT),
        "answer": excerpt(row.answer, 300),
        "text": excerpt(row.text, _LIMIT, tail=_TAIL),
    }
