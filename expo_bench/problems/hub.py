"""Rows through the library `datasets`, which downloads and caches them. Nothing else imports it."""

import re
from dataclasses import dataclass
from typing import Any

from expo_bench.problems.base import HubDataset, Row, Unavailable, WebFile

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """The rows of one split, in the order of the repository."""

    rows: list[Row]
    revision: str | None
    """The commit that they come from; None where there is none, as for a folder in place of a repository."""


def fetch(source: HubDataset | WebFile, split: str, revision: str | None) -> Fetched:
    """Return the rows of a split as of `revision` (a commit, branch or tag; by default the newest).

    Raises:
        Unavailable: no network and nothing in the cache, or no such repository, revision or split.
    """
    if isinstance(source, WebFile):
        revision = revision or source.revision
        rows, _ = _read("json", None, "train", data_files=source.url.format(revision=revision))
        return Fetched(rows, revision)
    rows = []
    commit: str | None = None
    for config in source.configs:
        # every config from the commit of the first, even if the repository changes meanwhile
        more, found = _read(source.repo, config, source.splits.get(split, split), revision=commit or revision)
        rows.extend(more)
        commit = commit or found
    if revision and _COMMIT.fullmatch(revision) and commit not in (None, revision):
        # without a network, `datasets` falls back on whatever commit is in its cache
        raise Unavailable(f"revision {revision} is not in the cache, only {commit}")
    return Fetched(rows, commit)


def _read(path: str, config: str | None, split: str, **options: Any) -> tuple[list[Row], str | None]:
    import datasets

    try:
        # what datasets.load_dataset does, but the builder knows the commit: its hash, for a repository of the hub
        builder = datasets.load_dataset_builder(path, config, **options)
        builder.download_and_prepare()
        rows: list[Row] = list(builder.as_dataset(split=split))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise Unavailable(_first_line(error)) from error
    return rows, builder.hash if _COMMIT.fullmatch(builder.hash or "") else None


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(".")
