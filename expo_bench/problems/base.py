"""What a benchmark file is made of: the facts of the benchmark, and what is read from one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
"""One row as published, from a file or from the hub."""


class BadRow(ValueError):
    """A row cannot be read; the message says why, and who reads the file adds where."""


class Unavailable(Exception):
    """A source cannot be had; the message says why, and `load` adds what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a benchmark says in one row; a Problem without its id, benchmark and split."""

    question: str
    answer: str
    """Empty where the row has none; whoever may not accept that raises BadRow."""
    solution: str | None = None
    level: int | None = None
    subject: str | None = None
    domain: tuple[str, ...] = ()
    source: str | None = None
    note: str | None = None
    """What had to be done to the row; `load` counts the rows by note and warns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubDataset:
    """A dataset repository of the Hugging Face hub."""

    repo: str
    configs: tuple[str | None, ...] = (None,)
    """Read one after the other; None is the repository's default."""
    splits: Mapping[str, str] = field(default_factory=dict)
    """Our name of a split -> the repository's, where they differ."""

    @property
    def name(self) -> str:
        """As the manifest records it."""
        return f"hub:{self.repo}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebFile:
    """A JSON-lines file of a repository that is not on the hub."""

    name: str
    """As the manifest records it."""
    url: str
    """Holds `{revision}`."""
    revision: str
    """The commit that is read if the user names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solutions:
    """A file with the solution of each problem, in their order; `answer_field` must agree with the gold answer."""

    file: str
    """In a data folder."""
    source: WebFile
    field: str
    answer_field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Where a published benchmark is found and how its rows are read."""

    name: str
    title: str
    """What it holds, in a few words."""
    files: Mapping[str, str]
    """Split -> name of its file in a data folder. These are the splits that there are."""
    source: HubDataset | WebFile
    parse: Callable[..., Entry]
    """Takes a row; of a benchmark with choices, `choice_seed` as well."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Split -> the digest of its questions and answers."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Split -> number of problems."""
    licence: str = "none stated"
    prompt: str = "boxed"
    """Name of the prompt that is nearest to those of papers on it."""
    max_tokens: int | None = None
    """Budget of a completion that papers on it use, where that is not the default."""
    groups: tuple[str, ...] = ()
    """Names under which several benchmarks are asked for at once."""
    solutions: "Solutions | None" = None
    """Expert solutions that stand elsewhere than the problems."""
    has_choices: bool = False
    """The choices of a question are put into an order that a seed decides."""
    access: str | None = None
    """How to get access, where the source asks for more than a network."""
