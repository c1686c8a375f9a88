"""Mappings of files that are often met: data, a YAML file each in assets/presets/. See docs/import.md."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath
from typing import Any, Literal

import yaml

from expo_bench.errors import UserError
from expo_bench.problems.base import Row
from expo_bench.problems.reading.mapping import FieldMap, Reading, field_map
from expo_bench.problems.reading.paths import Path, Place

Kind = Literal["problems", "samples", "thoughts"]
NEEDED: dict[Kind, tuple[str, ...]] = {
    "problems": ("question", "answer"),
    "samples": ("question", "answer", "text"),
    "thoughts": ("question", "text"),
}
"""What files of a kind must tell."""
_LOOKED_AT = 20
"""Rows of a file that may tell its preset: a field of the first may be null."""
_FOLDER = FilePath(__file__).parents[2] / "assets" / "presets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A mapping with a name, and by what its files are told from all others."""

    name: str
    about: str
    kinds: tuple[Kind, ...]
    marks: tuple[Path, ...]
    """All of them are there in files that need no --preset; empty where no file is unmistakable."""
    fields: FieldMap

    def fits(self, row: Row) -> bool:
        """Tell whether the first object of a file is unmistakably of this preset."""
        place = Place(row=row, whole=row, number=0)
        return bool(self.marks) and all(mark.find(place) is not None for mark in self.marks)


@cache
def presets() -> dict[str, Preset]:
    """Return the presets by name."""
    return {preset.name: preset for preset in map(_read, sorted(_FOLDER.glob("*.yaml")))}


def choose(reading: Reading, kind: Kind, rows: Sequence[Row], default: FieldMap | None) -> FieldMap | None:
    """Return how a file that begins with these objects shall be read; None where nothing says it.

    What the user declares goes before the preset: the named one, else an unmistakable one, else the default. Where the
    user says where the rows stand, it is these that tell the preset.

    Raises:
        UserError: there is no such preset.
    """
    declared = reading.declared()
    rows = rows[:_LOOKED_AT]
    if declared is not None and "rows" in declared.paths:
        rows = [place.row for row in rows for place in declared.expand(row, 0)][:_LOOKED_AT]
    if reading.preset is not None:
        known = presets()
        if reading.preset not in known:
            raise UserError(f"there is no preset {reading.preset!r}; there are {', '.join(known)}")
        base: FieldMap | None = known[reading.preset].fields
    elif default is not None and (any(found_all(default, kind, row) for row in rows) or not fitting(kind, rows)):
        base = default
    else:
        base = fitting(kind, rows)
    if declared is None:
        return base
    return declared if base is None else base.over(declared)


def fitting(kind: Kind, rows: Iterable[Row]) -> FieldMap | None:
    """Return the mapping of the preset that one of the rows is unmistakably of: the one with the most marks."""
    of_kind = [preset for preset in presets().values() if kind in preset.kinds]
    found = [preset for row in rows for preset in of_kind if preset.fits(row)]
    return max(found, key=lambda preset: len(preset.marks)).fields if found else None


def nearest(kind: Kind, row: Row) -> Preset | None:
    """Return the preset that finds the most of what is needed in the row; None where none finds all but one."""
    of_kind = [preset for preset in presets().values() if kind in preset.kinds]
    ranked = sorted(of_kind, key=lambda preset: -_n_found(preset.fields, kind, row))
    enough = len(NEEDED[kind]) - (kind == "samples")
    return ranked[0] if ranked and _n_found(ranked[0].fields, kind, row) >= enough else None


def found_all(fields: FieldMap, kind: Kind, row: Row) -> bool:
    """Tell whether a mapping finds in the row all that files of the kind must tell."""
    return _n_found(fields, kind, row) == len(NEEDED[kind])


def field_names(row: Row, depth: int = 3) -> list[str]:
    """Return the paths of all values of a row, such as reward_model.ground_truth and prompt[].content."""
    return list(_names(row, "", depth))


def _n_found(fields: FieldMap, kind: Kind, row: Row) -> int:
    place = next(fields.expand(row, 0), None)
    if place is None:
        return 0
    return sum(fields.value(name, place) not in (None, "", []) for name in NEEDED[kind])


def _names(value: Any, prefix: str, depth: int) -> Iterator[str]:
    if depth and isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _names(inner, f"{prefix}.{name}" if prefix else str(name), depth - 1)
    elif depth and isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _names(value[0], f"{prefix}[]", depth)
    else:
        yield prefix


def _read(file: FilePath) -> Preset:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    about, kinds, marks = values.pop("about"), values.pop("kinds"), values.pop("unmistakable", [])
    return Preset(
        name=file.stem,
        about=about,
        kinds=tuple(kinds),
        marks=tuple(map(Path, marks)),
        fields=field_map(values, str(file), file.stem),
    )
