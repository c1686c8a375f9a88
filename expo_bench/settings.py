"""Settings of any kind: a YAML file, then what was given by name, then `key=value`; what does not fit, in one line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from expo_bench.errors import UserError, did_you_mean, reason


class Settings(BaseModel):
    """A section of settings: frozen, without unknown keys; the text below a field is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


Chosen = TypeVar("Chosen", bound=BaseModel)
Item = TypeVar("Item")


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | Path) else value


Several = Annotated[tuple[Item, ...], BeforeValidator(_split)]
"""A list that may be given as one text with commas between, or as a single item."""


def _assigned(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    parts = [str(text).partition("=") for text in value]
    if wrong := next((text for text, (_, _, path) in zip(value, parts, strict=True) if not path.strip()), None):
        raise ValueError(f"{wrong!r}: FIELD=PATH is wanted, for instance question=problem or text='code[*]'")
    return {name.strip(): path.strip() for name, _, path in parts}


class ReadingSettings(Settings):
    """How files of the user's own are read; docs/import.md."""

    group: ClassVar[str] = "Your own files"

    preset: str | None = None
    """Name of a mapping; expo-bench list shows them."""
    map: Annotated[dict[str, str | int | float], BeforeValidator(_assigned)] = Field(default_factory=dict)
    """Where a field stands in the rows, such as answer=target; may be given again."""
    mapping: Path | None = None
    """YAML file of such fields and paths."""
    join: str | None = None
    """File or benchmark whose rows those of the file find by a key."""
    skip_bad_rows: bool = False
    """Leave out, and count, rows that cannot be read."""

    def reading(self) -> dict[str, Any]:
        """Return these settings by their names."""
        return {name: getattr(self, name) for name in ProblemReading.model_fields if name in type(self).model_fields}


class ProblemReading(ReadingSettings):
    """How files of the user's own problems are read."""

    merge_repeats: bool = False
    """Rows that ask the same are one problem."""


def load_settings(
    kind: type[Chosen], file: Path | None, settings: Mapping[str, Any], overrides: Sequence[str] = ()
) -> Chosen:
    """Return settings of any kind: the YAML file, then `settings`, then `key=value` overrides.

    Raises:
        UserError: unreadable file, unknown key, or a value that does not fit; one line that names the key.
    """
    values = there = _read_yaml(file) if file else {}
    if settings:
        values = {**values, **settings}
    for override in overrides:
        values = _with(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        told, place = what_does_not_fit(error, kind)
        # unless what stands there was given beside the file
        where = f" (in {file})" if file and _at(there, place) is _at(values, place) else ""
        raise UserError(told + where) from error


def to_yaml(settings: BaseModel) -> str:
    """Return the resolved settings; `load_settings` reads them back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"config file {file} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"config file {file} cannot be read: {reason(error)}") from error
    except (yaml.YAMLError, RecursionError) as error:
        told = " ".join(str(error).replace('in "<unicode string>", ', "in ").split())
        raise UserError(f"config file {file} is not YAML: {told[:200]}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"config file {file} must hold `key: value` lines")
    return values


def _with(values: dict[str, Any], override: str) -> dict[str, Any]:
    """Return the values with one more; what it stands in is copied, the rest is the same."""
    path, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"{override!r} is not of the form key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the value of {override!r} is not YAML") from error
    *parents, key = path.split(".")
    found = section = {**values}
    for parent in parents:
        inner = section.get(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"{override!r}: {parent} holds no keys")
        copied = section[parent] = {**inner}
        section = copied
    section[key] = value
    return found


def what_does_not_fit(error: ValidationError, kind: type[BaseModel]) -> tuple[str, Sequence[int | str]]:
    """Return a line on it and its place, unknown keys first: where a key is misspelt, what it stands for is missing."""
    errors = error.errors(include_url=False)
    if unknown := [one["loc"] for one in errors if one["type"] == "extra_forbidden"]:
        return _unknown(unknown, kind), unknown[0]
    first = errors[0]
    key, message = _key(first["loc"]), first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if first["type"] == "missing":
        message = "is not set"
    elif first["type"] == "literal_error" and isinstance(first["input"], str):
        choices = [text.strip("'") for text in first["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        message = f"{first['input']!r} is none of {', '.join(choices)}{did_you_mean(first['input'], choices)}"
    elif first["type"] in ("too_short", "string_too_short") and not first["input"]:
        message = "is empty"
    elif first["type"].endswith("_parsing"):
        message = f"{str(first['input'])[:80]!r} does not fit, it {message}"
    return f"{key}: {message}" if key else message, first["loc"]


def _unknown(places: Sequence[tuple[int | str, ...]], kind: type[BaseModel]) -> str:
    there = [sorted(_section(kind, loc[:-1]).model_fields) for loc in places]
    named = [f"{_key(loc)}{did_you_mean(str(loc[-1]), names)}" for loc, names in zip(places, there, strict=True)]
    return f"{', '.join(named)}: no such setting; there are {', '.join(there[0])}"


def _key(loc: Sequence[int | str]) -> str:
    return " ".join(".".join(map(str, loc)).split())  # an unknown key may hold line breaks


def _at(values: Any, place: Sequence[int | str]) -> Any:
    """Return what stands at a place of an error; None where nothing does."""
    for name in place:
        values = values.get(name) if isinstance(values, dict) else values
    return values


def _section(kind: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel]:
    """Return the model that stands at a place of an error; names of a union's members and indexes lead nowhere else."""
    for name in loc:
        field = kind.model_fields.get(str(name))
        kind = next(iter(_models(field.annotation)), kind) if field else kind
    return kind


def _models(annotation: Any) -> list[type[BaseModel]]:
    if get_origin(annotation) is not None:
        return [found for part in get_args(annotation) for found in _models(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
