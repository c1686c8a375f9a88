"""What the commands share: options that hold several values, and the end of a process."""

import signal
from typing import Annotated, Any, NoReturn

import typer

from expo_bench.errors import UserError

ReplicasOption = Annotated[
    int | None, typer.Option("--replicas", min=1, help="Engines at once, each in an actor of Ray. [default: one, here]")
]
RayAddressOption = Annotated[
    str | None, typer.Option("--ray-address", help="With --replicas: a running Ray cluster, auto or HOST:PORT.")
]


def names(text: str | None) -> list[str] | None:
    """Return the names between the commas."""
    return None if text is None else [part for part in text.split(",") if part]


def numbers(option: str, text: str | None) -> list[int] | None:
    """Return the whole numbers between the commas.

    Raises:
        UserError: something else stands there.
    """
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"{option} {text}: whole numbers with commas between are wanted, for instance 4,5") from error


def end_quietly() -> None:
    """Let no further ctrl-C break into the end of the process: there is nothing left to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def stopped() -> NoReturn:
    """End a command that ctrl-C or SIGTERM stopped."""
    end_quietly()
    typer.echo("\nstopped; what was done is saved. The same command goes on with it", err=True)
    raise typer.Exit(130) from None


def terminated(*_: Any) -> None:
    """Handle SIGTERM as ctrl-C: batch systems ask with it before they kill."""
    raise KeyboardInterrupt
