"""Versions of a set of thoughts on disk: a folder with rows.jsonl, and a manifest that is written last."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError
from expo_bench.rows import Thought
from expo_bench.storage.row_files import encode, read_rows, write_atomically

SCHEMA_VERSION = 1


class ThoughtFolder:
    """One version; it is whole once its manifest is there, and never changes after that."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.rows_path = self.path / "rows.jsonl"
        self.manifest_path = self.path / "dataset.json"
        self.report_path = self.path / "report.html"

    @property
    def is_complete(self) -> bool:
        """Whether the manifest is there."""
        return self.manifest_path.is_file()

    def rows(self) -> Iterator[Thought]:
        """Yield the thoughts."""
        return read_rows(self.rows_path, Thought)

    def manifest(self) -> dict[str, Any]:
        """Return schema_version, parent, counts, left_out, settings and digest.

        Raises:
            UserError: there is no manifest, or it is damaged or of a later version.
        """
        try:
            found: dict[str, Any] = json.loads(self.manifest_path.read_bytes())
            version = found["schema_version"]
        except FileNotFoundError as error:
            raise UserError(f"{self.path} is no set of thoughts: it has no {self.manifest_path.name}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.manifest_path} is damaged ({error}); make the set again") from error
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{self.manifest_path} has schema version {version}, this expo-bench knows {SCHEMA_VERSION}"
            )
        return found


def write(
    path: Path,
    rows: Sequence[Thought],
    *,
    parent: Path | None,
    left_out: Mapping[str, int],
    settings: Mapping[str, Any],
) -> ThoughtFolder:
    """Write a version and return it.

    Args:
        path: its folder.
        rows: all of it, those of the parent included.
        parent: the version that it extends.
        left_out: how many were not taken, by reason.
        settings: what it was made with.

    Raises:
        UserError: two rows have the same thought_id.
    """
    folder = ThoughtFolder(path)
    doubled = [name for name, count in Counter(row.thought_id for row in rows).items() if count > 1]
    if doubled:
        raise UserError(f"{path}: thought {doubled[0]} is there twice; a set holds each thought once")
    content = b"".join(map(encode, rows))
    write_atomically(folder.rows_path, content)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "parent": parent and {"path": str(parent), "digest": ThoughtFolder(parent).manifest()["digest"]},
        "counts": {"thoughts": len(rows), "problems": len({row.problem_id for row in rows}), **_counts(rows)},
        "left_out": dict(sorted(left_out.items())),
        "settings": dict(settings),
        "digest": hashlib.sha256(content).hexdigest(),
    }
    write_atomically(folder.manifest_path, json.dumps(manifest, indent=1))
    return folder


def _counts(rows: Sequence[Thought]) -> dict[str, dict[str, int]]:
    by: dict[str, Counter[str]] = {
        "source": Counter(row.source for row in rows),
        "level": Counter("none" if row.level is None else str(row.level) for row in rows),
        "round": Counter(str(row.round) for row in rows),
    }
    return {name: dict(sorted(counted.items())) for name, counted in by.items()}
