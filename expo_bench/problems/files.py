"""A user's own problems: the rows of a file, a folder or a dataset of the hub, read by a mapping."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from expo_bench.errors import UserError
from expo_bench.problems.base import Entry, Row
from expo_bench.problems.reading.entries import DEFAULT, each, entry, refuse_bad
from expo_bench.problems.reading.joining import Table, table
from expo_bench.problems.reading.mapping import FieldMap, Reading
from expo_bench.problems.reading.paths import Place
from expo_bench.problems.reading.presets import choose
from expo_bench.problems.reading.refusals import advice

_CHOICES = ("choices", "options")
SKIP = "--skip-bad-rows"
_SAYS_NOTHING = re.compile(
    r"(?:(?:output|outputs|results|completions|predictions|generations|train|training|test|testing|dev|val|valid|validation|eval|data|dataset|main|default|problems|samples)"
    r"(?:[-_.]?(?:rs|seed|run)?\d+(?:[-_]of[-_]\d+)?)?|\d+)",
    re.IGNORECASE,
)
Rows = Sequence[tuple[str, Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a user's rows say."""

    entries: list[Entry]
    mapping: FieldMap
    warnings: list[str]


def benchmark_name(path: Path) -> str:
    """Return the name under which a user's file goes into ids and tables.

    It is the file's own, or, if that tells no benchmark, its folder's: aime24/test.jsonl is aime24.
    """
    stem = path.stem if path.suffix not in (".gz", ".zst", ".bz2", ".xz") else Path(path.stem).stem
    folder = path.resolve().parent.name
    telling = folder if _SAYS_NOTHING.fullmatch(stem) and folder and not _SAYS_NOTHING.fullmatch(folder) else stem
    return re.sub(r"[^\w.-]+", "-", telling)


def split_name(text: str) -> tuple[str | None, str]:
    """Return the name and the path of NAME=PATH; None where the text is a path alone."""
    name, equals, path = text.partition("=")
    if equals and re.fullmatch(r"[\w.+-]+", name) and path and not Path(text).exists():
        return name, path
    return None, text


def parse(rows: Rows, origin: object, reading: Reading, joined: Callable[[str], Iterable[Row]]) -> Parsed:
    """Return the problems of a user's rows; question and answer are found where mapping, preset or default say.

    Args:
        rows: with their places.
        origin: named where there are none.
        reading: what the user declared.
        joined: gives the rows of the file or benchmark that `reading` joins.

    Raises:
        UserError: no rows, none with a question and a gold answer, or a row that cannot be read.
    """
    if not rows:
        raise UserError(f"{origin} holds no problems; it must have one JSON object a line")
    first = rows[0][1]
    mapping = choose(reading, "problems", [row for _, row in rows], DEFAULT) or DEFAULT
    make: Callable[[Place], Entry] = partial(entry, mapping)
    if reading.join is not None:
        make = partial(_joined_entry, mapping, table(reading.join, joined(reading.join), mapping))
    bad: list[tuple[str, str]] = []
    entries = [found for _, found in each(rows, mapping, make, bad)]
    answered = sum(bool(one.answer) for one in entries)
    if not answered:
        place, reason = bad[0] if bad else (rows[0][0], "has no answer; write the gold answer in the field 'answer'")
        raise UserError(f"{place}: {reason}; {advice('problems', first, mapping)}")
    left_out = refuse_bad(bad, len(entries) + len(bad), reading.skip_bad_rows, SKIP)
    warnings = [f"{len(left_out)} rows are left out, the first: {left_out[0]}"] if left_out else []
    is_declared = mapping.paths.get("question") != DEFAULT.paths["question"]
    if not is_declared and (hidden := next((name for name in _CHOICES if first.get(name)), None)):
        warnings.append(
            f"the rows have {hidden!r}, which the questions do not show: write them into the question, or declare it, "
            f"--map question='{{question}} {{{hidden}[0]}} ...'"
        )
    if reading.merge_repeats:
        entries, merged = _merged(entries)
        warnings += merged
    return Parsed(entries=entries, mapping=mapping, warnings=warnings)


def _joined_entry(mapping: FieldMap, others: Table, place: Place) -> Entry:
    return entry(mapping, others.join(mapping, place))


def _merged(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    counts = Counter((one.question, one.answer) for one in entries)
    kept = list({(one.question, one.answer): replace(one) for one in reversed(entries)}.values())[::-1]
    times = sorted(set(counts.values()))
    if times == [1]:
        return list(entries), []
    often = f"{times[0]}" if len(times) == 1 else f"{times[0]} to {times[-1]}"
    return kept, [
        f"{len(entries)} rows are {len(kept)} problems, {often} times each: -n {times[-1]} draws as many samples of one"
    ]
