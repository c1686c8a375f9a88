"""Metrics by name and subset, in the words and the order in which people read them."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from expo_bench.errors import span
from expo_bench.reports.text import short, visible
from expo_bench.rows import Metric

MISSING = "–"
TARGETS = (
    '95% intervals: "these", what other samples of these problems would give; "like", or without a word, for problems '
    "like these, new ones from the same source"
)
"""For whom the two intervals of a table speak."""
_SUBSET = re.compile(r"(?:benchmark=(.*?)(?:,(?=(?:level|subject|domain)=)|$))?(?:(\w+)=(.*))?", re.DOTALL)
_SHARE = re.compile(
    r"(avg|pass@|maj@|m?G-Pass@|Cover@)|(graded|no_answer|truncated|timeout|error|bad_gold|copied|length_limit"
    r"|thought|thought_whole|thought_unended)$"
)


class Subset(NamedTuple):
    """Which problems: all of them (three times None), or those of a benchmark, a level, a subject, a domain."""

    benchmark: str | None = None
    field: str | None = None
    value: str | None = None

    @property
    def label(self) -> str:
        """The words for a reader who sees the benchmark beside them."""
        if self.field is None:
            return "All problems" if self.benchmark is None else short(self.benchmark, 80)
        value = short(self.value or "", 80)
        return f"Level {value}" if self.field == "level" else value


ALL = Subset()


class MetricTable:
    """The metrics of a run under one grader, by name and subset."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        metrics = list(metrics)
        subsets = {name: read_subset(name) for name in dict.fromkeys(metric.subset for metric in metrics)}
        self.benchmarks = sorted({subset.benchmark for subset in subsets.values() if subset.benchmark is not None})
        if len(self.benchmarks) == 1:
            # with one benchmark its levels are named without it; with several, as these
            only = self.benchmarks[0]
            subsets = {n: s._replace(benchmark=only) if s.field is not None else s for n, s in subsets.items()}
        self.subsets = list(dict.fromkeys(subsets.values()))
        self.names = list(dict.fromkeys(metric.name for metric in metrics))
        self._rows = {(metric.name, subsets[metric.subset]): metric for metric in metrics}

    def get(self, name: str | None, subset: Subset = ALL) -> Metric | None:
        """Return the metric, or None where there is none."""
        return None if name is None else self._rows.get((name, subset))

    @property
    def average(self) -> str | None:
        """The name of the headline: avg@n."""
        return next((name for name in self.names if re.fullmatch(r"avg(@\d+)?", name)), None)

    @property
    def average_graded(self) -> str | None:
        """The name of the second number, which leaves out what could not be graded."""
        return next((name for name in self.names if re.fullmatch(r"avg(@\d+)?\|graded", name)), None)

    @property
    def pass_ks(self) -> dict[int, str]:
        """The name of pass@k for each k, ascending."""
        found = (re.fullmatch(r"pass@(\d+)", name) for name in self.names)
        return dict(sorted((int(match[1]), match[0]) for match in found if match))

    @property
    def forecast_ks(self) -> dict[int, str]:
        """The name of pass@k for each k above n, ascending: a forecast, in what the samples leave possible."""
        found = (re.fullmatch(r"pass@(\d+)\|forecast", name) for name in self.names)
        return dict(sorted((int(match[1]), match[0]) for match in found if match))

    @property
    def majority(self) -> str | None:
        """The name of maj@k for the largest k."""
        found = [match for name in self.names if (match := re.fullmatch(r"maj@(\d+)", name))]
        return max(found, key=lambda match: int(match[1]))[0] if found else None


def outline(tables: Sequence[MetricTable]) -> list[tuple[Subset, int]]:
    """Return all problems, each benchmark where there are several, and its levels, each with its depth."""
    found = {subset for table in tables for subset in table.subsets}
    benchmarks = sorted({benchmark for table in tables for benchmark in table.benchmarks})
    rows = [(ALL, 0)]
    for benchmark in benchmarks:
        levels = sorted((s for s in found if s.field == "level" and s.benchmark == benchmark), key=_by_level)
        if len(benchmarks) > 1:
            rows.append((Subset(benchmark), 1))
        rows += [(level, 2 if len(benchmarks) > 1 else 1) for level in levels]
    return rows


def read_subset(name: str) -> Subset:
    """Return what a name like "benchmark=math500,level=5" means; all problems for any other name."""
    found = None if name == "all" else _SUBSET.fullmatch(name)
    return ALL if found is None else Subset(*found.groups())


def _by_level(subset: Subset) -> tuple[bool, float, str]:
    value = subset.value or ""
    number = re.fullmatch(r"-?\d+(\.\d+)?", value)
    return (number is None, float(value) if number else 0.0, value)


def value_text(metric: Metric | None) -> str:
    """Return the value, shares in percent."""
    return MISSING if metric is None or metric.value is None else _number(metric.value, metric.name)


def interval_text(metric: Metric | None) -> str:
    """Return the 95% interval for problems like these, or nothing where there is none."""
    if metric is None:
        return ""
    if _SHARE.match(metric.name):
        return span(metric.ci_low, metric.ci_high)
    return span(metric.ci_low, metric.ci_high, None, scale=1)


def _number(value: float, name: str) -> str:
    if _SHARE.match(name):
        return f"{100 * value:.1f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def heading(name: str) -> str:
    """Return the words that stand above a metric's column."""
    return name.replace("|graded", ", graded only").replace("|forecast", ", forecast").replace("_", " ")


def spread_ks(ks: Sequence[int], most: int = 3) -> list[int]:
    """Return up to `most` values of k above 1, 4 and the largest among them; pass@1 says the same as avg@n."""
    ks = sorted(k for k in ks if k > 1)
    if len(ks) <= most:
        return ks
    later = [k for k in ks if k >= 4]
    ks = later if len(later) >= most else ks
    return [ks[round(step * (len(ks) - 1) / (most - 1))] for step in range(most)]


# tables of a page


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell, with intervals below it where it has any."""

    text: str
    interval: str = ""
    """For problems like these, or as the caption says."""
    these: str = ""
    """For these problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row with its heading."""

    label: str
    cells: list[Cell] = field(default_factory=list)
    """None: the row is a heading of those below it."""
    depth: int = 0
    series: int | None = None
    """Which colour stands for the run of this row."""
    link: str = ""
    """Where the heading leads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What the template shows as a table."""

    caption: str
    head: list[str]
    rows: list[Row]
    wordy: bool = False
    """Cells are set to the left and broken into lines."""


def metric_cell(metric: Metric | None) -> Cell:
    """Return the value with its intervals."""
    these = "" if metric is None else span(metric.these_low, metric.these_high)
    return Cell(text=value_text(metric), interval=interval_text(metric), these=these)


def between(low: str, high: str) -> str:
    """Return two numbers as every page writes a range: 1.2–3.4, and "to" where a dash would stand beside a minus."""
    negative = any(end.startswith(("-", "\N{MINUS SIGN}")) for end in (low, high))
    return f"{low} to {high}" if negative else f"{low}–{high}"


def as_markdown(table: Table) -> str:
    """Return a table in Markdown, an interval in brackets behind its value; its caption stands below."""
    lines = [table.head, ["---"] * len(table.head)]
    for row in table.rows:
        cells = [f"{cell.text} [{cell.interval}]" if cell.interval else cell.text for cell in row.cells]
        lines.append([row.label, *cells, *[""] * (len(table.head) - 1 - len(cells))])
    body = "\n".join(f"| {' | '.join(visible(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    return f"{body}\n\n{table.caption}\n"


def as_csv(table: Table) -> str:
    """Return a table as CSV, a value and its intervals in columns of their own."""
    columns = list(zip_longest(*(row.cells for row in table.rows), fillvalue=Cell(text="")))
    wide = [any(cell.interval for cell in column) for column in columns]
    twice = [any(cell.these for cell in column) for column in columns]
    out = io.StringIO()
    writer = csv.writer(out)
    head = [table.head[0]]
    for at, name in enumerate(table.head[1:]):
        spans = [f"{name}, 95% interval"] if at < len(wide) and wide[at] else []
        spans += [f"{name}, 95% interval, these problems"] if at < len(twice) and twice[at] else []
        head += [name, *spans]
    writer.writerow(head)
    for row in table.rows:
        cells = [row.label]
        for cell, has, both in zip(row.cells, wide, twice, strict=False):
            cells += [cell.text, *[cell.interval] * has, *[cell.these] * both]
        # a spreadsheet takes a text that begins so for a formula
        writer.writerow(
            [f"'{cell}" if cell.startswith(("=", "+", "@", "\t")) else cell for cell in map(visible, cells)]
        )
    return out.getvalue()
