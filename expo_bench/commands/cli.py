"""`expo-bench`: finds the command, hands it the words, and turns bad input into one line and exit code 2."""

import inspect
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from expo_bench.commands.options import with_options
from expo_bench.errors import UserError, did_you_mean

COMMANDS = {
    "eval": "eval:evaluate",
    "grade": "grade:grade",
    "report": "report:report",
    "list": "list_:list_",
    "demo": "demo:demo",
    "candidates": "candidates:candidates",
    "likelihood": "likelihood:likelihood",
    "import": "import_:import_",
    "train": "train:train",
    "study": "study:study",
    "compare": "compare:compare",
    "plan": "plan:plan",
    "thoughts": "thoughts:thoughts",
    "view": "view:view",
    "publish": "publish:publish",
}
"""Name -> module of this package and function; a module is imported when its command is called or listed."""
_PLAIN: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


def _function(name: str) -> Callable[..., None]:
    module, _, function = COMMANDS[name].partition(":")
    found: Callable[..., None] = getattr(import_module(f"expo_bench.commands.{module}"), function)
    return found


class _Grouped(TyperCommand):
    """A command whose help shows its options by group, with the example that stands in its module at the end."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        records = [(_panel(one), one.get_help_record(ctx)) for one in self.get_params(ctx)]
        rest = "Run" if any(group for group, _ in records) else "Options"
        for group, record in records:
            if record is not None:
                groups.setdefault(group or rest, []).append(record)
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if self.epilog:
            with formatter.section("Example"):
                formatter.write(f"  {self.epilog}\n")


def _panel(parameter: Any) -> str | None:
    return "Arguments" if parameter.param_type_name == "argument" else getattr(parameter, "rich_help_panel", None)


class _Commands(TyperGroup):
    """The commands: one is built, with the options of its settings, when it is called, not when it is listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            near = did_you_mean(cmd_name, COMMANDS)
            raise UserError(f"there is no command {cmd_name}{near}; there are {', '.join(COMMANDS)}")
        function = _function(cmd_name)
        single = typer.Typer(**_PLAIN)
        example = getattr(inspect.getmodule(function), "EXAMPLE", None)
        single.command(cmd_name, cls=_Grouped, epilog=example)(with_options(function))
        return typer.main.get_command(single)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, (_function(name).__doc__ or "").split("\n\n")[0].replace("\n    ", " ")) for name in COMMANDS]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(cls=_Commands, no_args_is_help=True, **{**_PLAIN, "add_completion": True})


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"expo-bench {version('expo-bench')}")
        raise typer.Exit


@app.callback()
def _about(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    """Evaluate language models on mathematics, train them, and see what training did; every run can be stopped."""


def main() -> None:
    """Run the command line; bad input ends with one line on standard error and exit code 2."""
    # the tokenizers library warns about each fork that follows its use
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # threads that spin while they wait take the processor from those that work, wherever somebody else computes too
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"expo-bench: {error}\n")
        sys.exit(2)
    except BrokenPipeError:
        # the reader of our output went away: nothing is left to say, and Python must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
