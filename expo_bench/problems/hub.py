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


def fetch_split(
    repo: str, config: str | None, split: str | None, revision: str | None
) -> tuple[list[Row], str | None, str]:
    """Return the rows of a split of any dataset, its commit, and the split: as asked for, or test, or the only one.

    Raises:
        Unavailable: as `fetch`; where there are several splits, the message names them.
    """
    builder = _builder(repo, config, revision=revision)
    splits: list[str] = list(builder.info.splits or {})
    chosen = split or ("test" if "test" in splits else splits[0] if len(splits) == 1 else None)
    if chosen is None or chosen not in splits:
        asked = f"there is no split {split!r}" if split else "it has several splits"
        raise Unavailable(f"{asked}; choose {', '.join(splits)} with --split")
    return list(builder.as_dataset(split=chosen)), _commit(builder), chosen


def _read(path: str, config: str | None, split: str, **options: Any) -> tuple[list[Row], str | None]:
    builder = _builder(path, config, **options)
    try:
        rows: list[Row] = list(builder.as_dataset(split=split))
    except ValueError as error:
        raise Unavailable(_first_line(error)) from error
    return rows, _commit(builder)


def _builder(path: str, config: str | None, **options: Any) -> Any:
    import datasets

    try:
        # what datasets.load_dataset does, but the builder knows the commit: its hash, for a repository of the hub
        builder = datasets.load_dataset_builder(path, config, **options)
        builder.download_and_prepare()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise Unavailable(_first_line(error)) from error
    return builder


def _commit(builder: Any) -> str | None:
    return builder.hash if _COMMIT.fullmatch(builder.hash or "") else None


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(".")
