"""Tables in a terminal: one look for all commands; where there is no room, columns go and the names of rows stay."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from expo_bench.errors import span
from expo_bench.reports.tables import MISSING, Cell, MetricTable, Row, Subset, Table, outline, spread_ks, value_text
from expo_bench.reports.text import visible
from expo_bench.rows import Metric

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table as RichTable

INTERVALS = "percent, with 95% intervals: for these problems, other samples of them; for problems like these"
_WIDE = 100
_HEADS = {"truncated": "trun-\ncated", "no_answer": "no\nanswer"}


class TerminalTable:
    """Any table, with each interval below its value; the first column of values is the one that counts."""

    def __init__(self, table: Table, *, title: str = "", spare: Sequence[int] = (), wide: Table | None = None) -> None:
        """Take a table, and which of its columns of values are given up first; the others go from the last one on.

        `wide` is the same with more digits, for a terminal that has the room.
        """
        self._table, self._wide, self._title = table, wide or table, visible(title)
        n_columns = len(table.head) - 1
        self._given_up = [*spare, *(at for at in range(n_columns - 1, 0, -1) if at not in spare)]

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator["RichTable"]:
        kept = list(range(len(self._table.head) - 1))
        shown = self._with_columns(kept, options.max_width)
        for at in self._given_up:
            if console.measure(shown, options=options.update(width=10_000)).maximum <= options.max_width:
                break
            kept.remove(at)
            shown = self._with_columns(kept, options.max_width)
        yield shown

    def _with_columns(self, kept: Sequence[int], width: int) -> "RichTable":
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = self._wide if width >= _WIDE else self._table
        shown = RichTable(
            title=Text(self._title, style="bold") if self._title else None,
            caption=Text(table.caption, style="dim"),
            box=box.SIMPLE_HEAD,
            padding=(0, 1 if width >= _WIDE else 0),
            title_justify="left",
            caption_justify="left",
        )
        shown.add_column(table.head[0], overflow="fold", min_width=12)
        for at in kept:
            shown.add_column(table.head[at + 1], justify="right", no_wrap=True)
        both = any(cell.these for row in table.rows for cell in row.cells)
        for row in table.rows:
            indent = "  " * max(row.depth - 1, 0)
            label = Text(indent + visible(row.label), style="" if row.depth > 1 else "bold")
            if both and row.cells:
                label.append(f"\n{indent}these\n{indent}like these", style="dim not bold")
            cells = [label]
            for at in kept if row.cells else ():
                text = Text(visible(row.cells[at].text), style="" if at else "bold")
                cells.append(text.append(_below(row.cells[at], both), style="dim not bold"))
            shown.add_row(*cells)
        return shown


def _below(cell: Cell, both: bool) -> str:
    if not cell.these and not cell.interval:
        return ""
    return f"\n{cell.these or MISSING}\n{cell.interval or MISSING}" if both else f"\n{cell.interval}"


def metric_table(metrics: Sequence[Metric], *, title: str) -> TerminalTable:
    """Return the table of a run: benchmarks and levels down, avg@n, pass@k, maj@n and shares across, in percent."""
    table = MetricTable(metrics)
    names = _columns(table)
    head = ["", *(_HEADS.get(name, name.replace("|", "\n")) for name in names), "prob-\nlems"]
    narrow, wide = (
        Table(
            caption=INTERVALS,
            head=head,
            rows=[_row(table, names, subset, depth, decimals) for subset, depth in outline([table])],
        )
        for decimals in (0, 1)
    )
    spare = sorted(range(len(names)), key=lambda at: _worth(names[at]))
    return TerminalTable(narrow, title=title, spare=spare, wide=wide)


def _row(table: MetricTable, names: Sequence[str], subset: Subset, depth: int, decimals: int) -> Row:
    found = [table.get(name, subset) for name in names]
    counted = next((metric.n_problems for metric in found if metric), 0)
    cells = [share_cell(metric, decimals) for metric in found]
    return Row(label=subset.label, depth=depth, cells=[*cells, Cell(text=f"{counted:,}")])


def _columns(table: MetricTable) -> list[str]:
    passes = [table.pass_ks[k] for k in spread_ks(list(table.pass_ks))]
    wanted = [table.average, table.average_graded, *passes, table.majority, "truncated", "no_answer"]
    return [name for name in wanted if name in table.names]


def _worth(name: str) -> tuple[int, str]:
    """Return what a column is worth where there is no room for all: the average most, its variants least."""
    if name.endswith("|graded") or name.startswith("maj"):
        return 0, name
    return (1 if name == "no_answer" else 2 if name == "truncated" else 3 if name.startswith("pass") else 4), name


def share_cell(metric: Metric | None, decimals: int = 0) -> Cell:
    """Return a share in percent, with both intervals."""
    if metric is None:
        return Cell(text=MISSING)
    these = span(metric.these_low, metric.these_high, decimals)
    like = span(metric.ci_low, metric.ci_high, decimals)
    return Cell(text=value_text(metric), these=these or MISSING, interval=like or MISSING)
