"""Rows of one file that find those of another by a key: the other row stands in them as `joined`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from expo_bench.errors import UserError
from expo_bench.problems.base import BadRow, Row
from expo_bench.problems.reading.mapping import FieldMap
from expo_bench.problems.reading.paths import Place


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of the joined file by their key."""

    name: str
    rows: dict[str, Row]

    def join(self, mapping: FieldMap, place: Place) -> Place:
        """Return the place with the row that its key finds.

        Raises:
            BadRow: there is none.
        """
        key = mapping.value("key", place)
        if key is None or str(key) not in self.rows:
            raise BadRow(f"no row of {self.name} has {mapping.paths['joined_key'].text} = {key!r}")
        return replace(place, row={**place.row, "joined": self.rows[str(key)]})


def table(name: str, rows: Iterable[Row], mapping: FieldMap) -> Table:
    """Return the rows by what the mapping's `joined_key` finds in them.

    Raises:
        UserError: the mapping lacks `key` or `joined_key`, or that finds nothing.
    """
    for wanted in ("key", "joined_key"):
        if wanted not in mapping.paths:
            raise UserError(
                f"--join {name} goes by a key: say where it stands, with --map key=PATH in the rows and "
                "--map joined_key=PATH in the joined file (# is the number of a row, from 0)"
            )
    found: dict[str, Row] = {}
    first: Any = None
    for number, row in enumerate(rows):
        first = first or row
        key = mapping.value("joined_key", Place(row=row, whole=row, number=number))
        if key is not None:
            found.setdefault(str(key), row)
    if not found:
        names = ", ".join(first or ()) or "none"
        lacking = mapping.paths["joined_key"].text
        raise UserError(f"{name}: no row has {lacking}; its fields: {names}; say it with --map joined_key=PATH")
    return Table(name, found)
