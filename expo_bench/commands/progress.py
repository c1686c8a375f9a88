"""How far a long step is: bars on a terminal, a line now and then in a log. Standard error only."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from expo_bench.engines.base import Gauge
from expo_bench.evaluation.progress import Told

_FIRST_LINE_SECONDS = 2.0
_LOG_SECONDS = 30.0


class Stage:
    """One stage: what is finished of it, and how fast it goes."""

    def __init__(self, name: str, total: int, done: int, gauge: Gauge | None, beside: Told | None) -> None:
        self.name, self.total, self.done = name, total, done
        self._before, self._gauge, self._beside = done, gauge, beside
        self._begun = time.monotonic()
        self._tokens = 0

    def advance(self, n_tokens: int) -> None:
        """Count one more unit and its tokens."""
        self.done += 1
        self._tokens += n_tokens

    def rate(self) -> str:
        """Return the tokens a second since the stage began, those of unfinished samples too, and how many run.

        Then what else is told: where there are grades, the share of right answers so far.
        """
        running, unfinished = (0, 0) if self._gauge is None else (self._gauge.running, self._gauge.tokens)
        tokens = self._tokens + unfinished
        seconds = max(time.monotonic() - self._begun, 1e-9)
        parts = [f"{tokens / seconds:,.0f} tokens/s"] if tokens else []
        told = self._beside.told() if self._beside else ""
        return ", ".join(parts + [f"{running} running"] * bool(running) + [told] * bool(told))

    def left(self) -> str:
        """Return the time that is left; empty until as many units are finished as run at the same time.

        The first to finish are the short ones, and all that run with them are half done: a rate taken from them alone
        foretells many times too much.
        """
        finished = self.done - self._before
        if not finished or (self._gauge is not None and finished < self._gauge.running):
            return ""
        seconds = (time.monotonic() - self._begun) / finished * (self.total - self.done)
        return f"{seconds:.0f} s left"

    def line(self) -> str:
        """Return the stage as a line of a log."""
        return "  ".join(part for part in (f"{self.name} {self.done}/{self.total}", self.rate(), self.left()) if part)


class _Rate(ProgressColumn):
    """The rate, read anew whenever the bars are drawn: it moves before the first sample is whole."""

    def render(self, task: Task) -> Text:
        """Return the rate of the task's stage."""
        return Text(task.fields["stage"].rate())


class _Left(ProgressColumn):
    """The time that is left of the task's stage."""

    def render(self, task: Task) -> Text:
        """Return it; empty where it is not known yet."""
        return Text(task.fields["stage"].left())


class TerminalProgress:
    """Shows stages one after the other; a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            _Left(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._going: list[Stage] = []
        """Those that the log tells of, the last one now; an evaluation stands in the midst of training."""
        self._begun = threading.Event()
        self._ended = False

    def __enter__(self) -> "TerminalProgress":
        self._bars.start()
        if self._bars.disable:
            threading.Thread(target=self._log, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._begun.set()
        self._bars.stop()

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(
        self, stage: str, total: int, done: int, gauge: Gauge | None = None, beside: Told | None = None
    ) -> Callable[[int], None]:
        """Begin a stage; see `evaluation.Progress`."""
        begun = Stage(stage, total, done, gauge, beside)
        task = self._bars.add_task(stage, total=total, completed=done, stage=begun)
        if self._bars.disable and done < total:
            self._going.append(begun)
            self._begun.set()

        def advance(n_tokens: int) -> None:
            begun.advance(n_tokens)
            self._bars.update(task, advance=1)
            if self._bars.disable and begun.done == total:
                self._going.remove(begun)
                self.note(begun.line())

        return advance

    def _log(self) -> None:
        """Print the newest stage's line soon after it began and then now and again, until all ends."""
        wait = _FIRST_LINE_SECONDS
        while True:
            begun = self._begun.wait(wait)
            if self._ended:
                return
            self._begun.clear()
            wait = _FIRST_LINE_SECONDS if begun else _LOG_SECONDS
            for stage in () if begun else self._going[-1:]:
                self.note(stage.line())
