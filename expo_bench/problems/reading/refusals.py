"""What a user is told whose file cannot be read: what is there, the nearest preset, and the mapping to complete."""

from expo_bench.problems.base import Row
from expo_bench.problems.reading import values
from expo_bench.problems.reading.mapping import FieldMap
from expo_bench.problems.reading.paths import Place
from expo_bench.problems.reading.presets import NEEDED, Kind, field_names, nearest

_MOST_NAMES = 24


def advice(kind: Kind, row: Row, used: FieldMap | None) -> str:
    """Return one line: the fields of the row, and how to say which of them is what."""
    names = field_names(row)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    line = f"its fields: {', '.join(names[:_MOST_NAMES]) or 'none'}{more}"
    line += f"; say which is which: {_to_complete(kind, row, used)}"
    if lists := [f"{name}[*]" for name, value in row.items() if _is_rows(value) and not values.is_conversation(value)]:
        line += f", and if the rows stand in a field, --map 'rows={lists[0]}'"
    if said := [name for name, value in row.items() if values.is_conversation(value)]:
        line += f"; {said[0]!r} is a conversation, of which --map question={said[0]} takes what is asked"
    if used is not None and used.has("key"):
        line += "; its problems stand elsewhere: name the file or benchmark that has them with --join"
    preset = nearest(kind, row)
    if preset is None or (used is not None and used.name == preset.name):
        return line
    taken = ", ".join(
        f"{name}={preset.fields.paths[name].text}" for name in NEEDED[kind] if name in preset.fields.paths
    )
    return f"{line}; or take the nearest preset, --preset {preset.name} ({taken})"


def _to_complete(kind: Kind, row: Row, used: FieldMap | None) -> str:
    place = next(used.expand(row, 0), None) if used else None
    place = place or Place(row=row, whole=row, number=0)
    lacking = [name for name in NEEDED[kind] if used is None or used.value(name, place) in (None, "", [])]
    return " ".join(f"--map {name}=PATH" for name in lacking or NEEDED[kind])


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
