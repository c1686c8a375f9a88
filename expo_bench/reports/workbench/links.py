"""Where pages over several runs stand: with a query where they are served, as files of their own in a site."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import quote, urlencode

from expo_bench.storage.run_folder import file_name

ProblemLink = Callable[[str], str]
"""Problem id -> address of the page with its samples."""


class Links(Protocol):
    """Addresses of pages over several runs; the first run is the base."""

    def compare(self, runs: Sequence[str]) -> str:
        """Return where these runs stand problem by problem."""

    def beside(self, runs: Sequence[str]) -> ProblemLink:
        """Return where the samples of these runs stand side by side."""


class ServedLinks:
    """The runs stand in the query."""

    def compare(self, runs: Sequence[str]) -> str:
        """Return the address with the runs in it."""
        return f"compare.html?{urlencode([('run', run) for run in runs])}"

    def beside(self, runs: Sequence[str]) -> ProblemLink:
        """Return the addresses with runs and problem in them."""
        pairs = [("run", run) for run in runs]
        return lambda problem_id: f"beside.html?{urlencode([*pairs, ('problem', file_name(problem_id))])}"


class SiteLinks:
    """Each set of runs has a name, and is remembered, so that its pages are written."""

    def __init__(self) -> None:
        self.sets: dict[str, list[str]] = {}

    def _name(self, runs: Sequence[str]) -> str:
        name = f"compare-{hashlib.sha256(chr(10).join(runs).encode()).hexdigest()[:10]}"
        self.sets[name] = list(runs)
        return name

    def compare(self, runs: Sequence[str]) -> str:
        """Return the file of the set."""
        return f"{self._name(runs)}.html"

    def beside(self, runs: Sequence[str]) -> ProblemLink:
        """Return a file of the set's folder for each problem."""
        name = self._name(runs)
        return lambda problem_id: f"{name}/{quote(file_name(problem_id), safe='')}.html"
