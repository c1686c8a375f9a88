"""What a user or a preset declares of a file's rows: which field stands where."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

import yaml

from expo_bench.errors import UserError
from expo_bench.problems.base import Row
from expo_bench.problems.reading.paths import Path, Place

FIELDS = {
    "rows": "where the rows are, in each object of the file",
    "question": "the question, as text or as a conversation",
    "answer": "the gold answer; of a worked solution, what stands after #### or in the last box",
    "tolerance": "how far a number may be away from the gold answer",
    "text": "the completion, or a list of them",
    "score": "the file's own verdict on each completion",
    "solution": "the expert's chain of thought",
    "thought": "the thought, where thought and solution are two fields",
    "level": "a whole number, or Level 3",
    "subject": "one subject, or a list",
    "source": "where the problem comes from",
    "id": "tells problems apart that ask the same",
    "tokens": "the number of tokens of each completion, or their ids",
    "finish": "why each completion ended",
    "prompt": "the prompt as the policy saw it",
    "benchmark": "the benchmark's name",
    "model": "the policy's name",
    "temperature": "of sampling",
    "top_p": "of sampling",
    "max_tokens": "at which a completion was cut off",
    "seed": "of the run",
    "key": "what the rows of the joined file are found by",
    "joined_key": "the same in the joined file",
}
"""Name of a field -> what it says; a mapping declares those that it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMap:
    """Field -> path; the values of `constants` hold for all rows."""

    name: str = "mapping"
    """The preset's name, or "mapping"."""
    paths: Mapping[str, Path] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)

    def value(self, name: str, place: Place) -> Any:
        """Return what a row says of a field; None where it says nothing, or nothing is declared."""
        path = self.paths.get(name)
        return self.constants.get(name) if path is None else path.find(place)

    def has(self, name: str) -> bool:
        """Tell whether the field is declared."""
        return name in self.paths or name in self.constants

    def described(self) -> dict[str, Any]:
        """Return what the manifest records: the preset's name, and the paths."""
        return {"preset": self.name, **{name: path.text for name, path in self.paths.items()}, **self.constants}

    def over(self, other: "FieldMap") -> "FieldMap":
        """Return this mapping with what `other` declares in place of what this one does."""
        paths = {name: path for name, path in self.paths.items() if name not in other.constants}
        constants = {name: value for name, value in self.constants.items() if name not in other.paths}
        return replace(self, paths={**paths, **other.paths}, constants={**constants, **other.constants})

    def expand(self, row: Row, number: int) -> Iterator[Place]:
        """Yield the rows that an object of the file holds: itself, or those that `rows` finds in it.

        A row that is a list, such as a conversation, stands in an object, as `row`.
        """
        whole = Place(row=row, whole=row, number=number)
        if "rows" not in self.paths:
            yield whole
            return
        found = self.paths["rows"].find(whole)
        for at, one in enumerate(found if isinstance(found, list) else []):
            if isinstance(one, dict | list):
                yield Place(row=one if isinstance(one, dict) else {"row": one}, whole=row, number=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the user wants files of theirs to be read."""

    preset: str | None = None
    map: Mapping[str, Any] = field(default_factory=dict)
    """Field -> path; goes before the mapping file and the preset."""
    mapping: FilePath | None = None
    """A YAML file with paths."""
    join: str | None = None
    """A file, or the name of a benchmark, whose rows are found by `key` and stand in each row as `joined`."""
    skip_bad_rows: bool = False
    """Leave out, and count, the rows that cannot be read."""
    merge_repeats: bool = False
    """The rows of a benchmark that ask the same are one problem."""

    @property
    def is_declared(self) -> bool:
        """Whether anything is said of where the fields stand."""
        return self.preset is not None or self.mapping is not None or bool(self.map)

    def declared(self) -> FieldMap | None:
        """Return what is declared beside a preset; None where nothing is.

        Raises:
            UserError: the file is no mapping, there is no such field, or a path cannot be read.
        """
        found = FieldMap()
        if self.mapping is not None:
            found = found.over(field_map(_read_yaml(self.mapping), str(self.mapping)))
        if self.map:
            found = found.over(field_map(self.map, "--map"))
        return found if found.paths or found.constants else None


def field_map(values: Mapping[str, Any], origin: str, name: str = "mapping") -> FieldMap:
    """Return the mapping that these values declare: a path as text, {path: ..., match: ...}, or a number.

    Raises:
        UserError: there is no such field, or a path cannot be read.
    """
    paths, constants = {}, {}
    for key, value in values.items():
        if key not in FIELDS:
            near = difflib.get_close_matches(str(key), FIELDS, 1)
            raise UserError(
                f"{origin}: there is no field {key!r}{f', did you mean {near[0]}?' if near else ''}; "
                f"a mapping may declare {', '.join(FIELDS)}"
            )
        if isinstance(value, dict) and set(value) <= {"path", "match"} and "path" in value:
            value = f"{value['path']} ~ {value['match']}" if "match" in value else value["path"]
        if isinstance(value, str) and value.strip():
            try:
                paths[key] = Path(value)
            except UserError as error:
                raise UserError(f"{origin}, {key}: {error}") from error
        elif isinstance(value, int | float):
            constants[key] = value
        else:
            raise UserError(f"{origin}: {key} is {value!r}; a path is text, such as {key}: some.field")
    return FieldMap(name=name, paths=paths, constants=constants)


def _read_yaml(file: FilePath) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"mapping {file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"mapping {file} is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(values, dict):
        raise UserError(f"mapping {file} must hold lines such as question: problem")
    return values
