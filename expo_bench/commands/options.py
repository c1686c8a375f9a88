"""Options made from settings: each field of a model is an option, the text below it its help, its class its group."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Command = TypeVar("Command", bound=Callable[..., None])

SHORT = {"model": ("-m", "--model"), "benchmarks": ("-b", "--benchmarks"), "n": ("-n",)}
REPEATED = {"stop": "TEXT", "map": "FIELD=PATH"}
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting of the config file.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML file with any of these settings.")]
OutOption = Annotated[Path | None, typer.Option("-o", "--out", help="Run folder. [default: a name under results/]")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and stop.")]
_METAVARS = {int: "INTEGER", float: "NUMBER"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    model: str
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: frozenset[str] = frozenset()


def takes_settings(
    model: str, *, names: Mapping[str, tuple[str, ...]] | None = None, without: tuple[str, ...] = ()
) -> Callable[[Command], Command]:
    """Give a command an option for each field of a model; those that were given reach it as the dict `settings`.

    Args:
        model: "module:class"; imported only when the command is called or asked for help.
        names: field -> its options, where they are not --field-name.
        without: fields that are no options.
    """

    def mark(command: Command) -> Command:
        command.wanted = _Wanted(model=model, names=names or {}, without=frozenset(without))  # type: ignore[attr-defined]
        return command

    return mark


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command as typer wants to see it, with the options that `takes_settings` asks for."""
    wanted: _Wanted | None = getattr(command, "wanted", None)
    if wanted is None:
        return command
    module, _, name = wanted.model.partition(":")
    model: type[BaseModel] = getattr(import_module(module), name)
    fields = {
        key: info
        for key, info in model.model_fields.items()
        if key not in wanted.without and (key in REPEATED or not _is_section(info))
    }
    names = {**SHORT, **wanted.names}
    made = [_parameter(key, info, _group(model, key), names.get(key)) for key, info in fields.items()]
    signature = inspect.signature(command, eval_str=True)
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
        if parameter.name != "settings"
    ]
    defaults = {parameter.name: parameter.default for parameter in made}

    def run(**given: Any) -> None:
        chosen = {key: given.pop(key) for key in defaults}
        command(settings={key: one for key, one in chosen.items() if one not in (defaults[key], [])}, **given)

    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature([*made, *own])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*made, *own)}
    return run


def _group(model: type["BaseModel"], key: str) -> str | None:
    owners = [one for one in model.__mro__ if key in inspect.get_annotations(one)]
    return getattr(owners[-1], "group", None)


def _is_section(info: "FieldInfo") -> bool:
    from pydantic import BaseModel

    kind = info.annotation
    return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel))


def _parameter(key: str, info: "FieldInfo", group: str | None, names: tuple[str, ...] | None) -> inspect.Parameter:
    """Return an option that hands its text on: the model reads it, and says what does not fit."""
    kinds = [one for one in (get_args(info.annotation) or (info.annotation,)) if one is not type(None)]
    flag = names or (f"--{key.replace('_', '-')}",)
    shared: dict[str, Any] = {"help": _help(info, kinds), "rich_help_panel": group, "show_default": False}
    annotation: Any = Annotated[str | None, typer.Option(*flag, metavar=_metavar(info, kinds), **shared)]
    default: Any = None
    if info.annotation is bool:
        annotation, default = Annotated[bool, typer.Option(*flag, **shared)], False
    elif kinds == [bool]:
        annotation = Annotated[bool | None, typer.Option(f"{flag[-1]}/--no-{flag[-1][2:]}", **shared)]
    elif key in REPEATED:
        annotation = Annotated[list[str] | None, typer.Option(*flag, metavar=REPEATED[key], **shared)]
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _metavar(info: "FieldInfo", kinds: list[Any]) -> str:
    if get_origin(info.annotation) is Literal:
        return "NAME"
    return _METAVARS.get(kinds[0], "TEXT") if len(kinds) == 1 else "TEXT"


def _help(info: "FieldInfo", kinds: list[Any]) -> str:
    text = " ".join((info.description or "").split())
    if get_origin(info.annotation) is Literal:
        text = f"{text} {', '.join(get_args(info.annotation))}."
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if default in (None, False, (), {}) or kinds == [bool]:
        return text
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} [default: {shown}]"
