"""The page of a sharpening ledger: verdicts, figures, and the numbers behind them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expo_bench.errors import span
from expo_bench.reports.figures.ledger_figures import draw_ledger
from expo_bench.reports.figures.svg import standalone
from expo_bench.reports.ledger_views import controls_table, likelihood_table, problem_tables, sentences
from expo_bench.reports.pages import figure, flatten, render
from expo_bench.reports.tables import TARGETS, Cell, Row, Table
from expo_bench.storage.ledger_folder import LedgerFolder
from expo_bench.storage.row_files import write_atomically

Numbers = Mapping[str, Any]

_HEAD = ["Problems", "n", "both", "lost", "new", "by chance", "neither", "base pass@1", "trained pass@1", "change",
         "base pass@n", "trained pass@n", "k*"]  # fmt: skip


def ledger_page(content: Numbers, out: Path) -> Path:
    """Write the page of `ledger.json`'s content, and its figures in the folder `figures` beside it."""
    sections = []
    problems = LedgerFolder(out.parent).rows()
    for number, section in enumerate(content["comparisons"], start=1):
        drawn = draw_ledger(section, f"ledger_{number}", number - 1)
        for drawing in drawn:
            write_atomically(out.parent / "figures" / f"{drawing.name}.svg", standalone(drawing.wide))
        sections.append(
            {
                "title": f"{section['trained']} against {section['base']}",
                "role": section["role"],
                "sentence": section["verdict"]["sentence"],
                "caveats": section["verdict"].get("caveats", []),
                "more": sentences(section, content),
                "figures": [figure(one) for one in drawn],
                "tables": [one for one in (_table(section["subsets"]), likelihood_table(section)) if one],
                "problems": problem_tables(problems, section["base"], section["trained"]),
            }
        )
    runs = [{"name": name, "facts": flatten(run)} for name, run in content["runs"].items()]
    context = {
        "title": "Sharpening or new problems?",
        "verdicts": _verdicts(content["comparisons"]),
        "study": "../report.html" if (out.parent.parent / "study.yaml").is_file() else "",
        "notes": content.get("notes", []),
        "controls": controls_table(content),
        "sections": sections,
        "runs": runs,
    }
    write_atomically(out, render("ledger.html.j2", context))
    return out


def _verdicts(comparisons: Sequence[Numbers]) -> Table:
    """Return what happened, a comparison a row, the verdict first."""
    rows = []
    for number, section in enumerate(comparisons, start=1):
        if "kind" not in section["verdict"]:
            # a trained model against a control: the table of controls says it
            continue
        cells = section["subsets"]["all"]["cells"]
        expected, curve = section["subsets"]["all"]["null"]["expected"], section["subsets"]["all"]["pass_at_k"]
        shown = [section["verdict"]["kind"], cells["trained_only"], cells["base_only"], f"{expected:.1f}"]
        solved = [f"{100 * curve[side]['value'][0]:.1f}" for side in ("base", "trained")]
        texts = [*map(str, shown), " → ".join(solved)]
        label = f"{section['trained']} against {section['base']}"
        rows.append(Row(label=label, depth=1, cells=[Cell(text=text) for text in texts], link=f"#comparison-{number}"))
    caption = "What became of each model. By chance: how many new, and how many lost problems no difference would show."
    return Table(caption=caption, head=["", "verdict", "new", "lost", "by chance", "pass@1, %"], rows=rows)


def _table(subsets: Mapping[str, Numbers]) -> Table:
    rows = []
    for name, numbers in subsets.items():
        cells, curve, k = numbers["cells"], numbers["pass_at_k"], numbers["crossover"]["k"]
        shown = [
            _plain(numbers["budget"]["smallest"]),
            *(_plain(cells[cell]) for cell in ("both", "base_only", "trained_only")),
            _plain(f"{numbers['null']['expected']:.1f}"),
            _plain(cells["neither"]),
            *(_percent(curve[side], 0) for side in ("base", "trained", "difference")),
            *(_percent(curve[side], -1) for side in ("base", "trained")),
            _plain("–" if k is None else k),
        ]
        depth = 0 if name == "all" else 1
        rows.append(Row(label=f"{name} ({numbers['n_problems']})", depth=depth, cells=shown))
    caption = (
        "Cells count problems solved at least once in n samples. By chance: how many new, and how many lost ones the "
        f"base against itself would show. pass@k in percent; {TARGETS}. k*: the first k at which the base's pass@k is "
        "above the trained model's."
    )
    return Table(caption=caption, head=_HEAD, rows=rows)


def _plain(value: object) -> Cell:
    return Cell(text=str(value))


def _percent(estimate: Numbers, at: int) -> Cell:
    value, low, high, here, there = (estimate[n][at] for n in ("value", "low", "high", "these_low", "these_high"))
    return Cell(text=f"{100 * value:.1f}", interval=span(low, high), these=span(here, there))
