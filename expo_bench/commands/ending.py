"""How a command ends that ctrl-C or SIGTERM stops."""

import signal
from typing import Any, NoReturn

import typer


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
