"""How far a long step is: bars on a terminal, a line now and then in a log. Standard error only."""

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LOG_SECONDS = 30.0


class TerminalProgress:
    """Shows stages one after the other; a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> "TerminalProgress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, stage: str, total: int, done: int) -> Callable[[int], None]:
        """Begin a stage; see `evaluation.Progress`."""
        task = self._bars.add_task(stage, total=total, completed=done, rate="")
        begun = last = time.monotonic()
        tokens = finished = 0

        def advance(n_tokens: int) -> None:
            nonlocal tokens, finished, last
            tokens += n_tokens
            finished += 1
            now = time.monotonic()
            rate = f"{tokens / max(now - begun, 1e-9):,.0f} tokens/s" if tokens else ""
            self._bars.update(task, advance=1, rate=rate)
            if self._bars.disable and (now - last > _LOG_SECONDS or done + finished == total):
                last = now
                left = (now - begun) / finished * (total - done - finished)
                self.note(f"{stage} {done + finished}/{total}  {rate}  {left:.0f} s left")

        return advance
