"""The folder of a ledger: ledger.json, and ledger.parquet with a row a problem and comparison."""

import json
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError


class LedgerFolder:
    """One ledger on disk, for whoever reads it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.content_path = self.path / "ledger.json"
        self.rows_path = self.path / "ledger.parquet"

    def content(self) -> dict[str, Any]:
        """Return the numbers.

        Raises:
            UserError: the file is damaged.
        """
        try:
            found = json.loads(self.content_path.read_bytes())
            for section in (found["comparisons"], found["runs"]):
                _with_both_targets(section)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{self.content_path} is damaged: {error}; give the expo-bench compare command again"
            ) from error
        return found  # type: ignore[no-any-return]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each problem of each comparison; nothing where the file is not there.

        Raises:
            UserError: the file is damaged.
        """
        if not self.rows_path.is_file():
            return []
        from pyarrow import parquet

        try:
            return parquet.read_table(self.rows_path).to_pylist()  # type: ignore[no-any-return]
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.rows_path} is damaged: {error}; give the expo-bench compare command again"
            ) from error


def _with_both_targets(found: Any) -> None:
    """Give intervals of schema 1, which are for problems like these, ends for these problems that nobody knows."""
    if isinstance(found, dict):
        if {"value", "low", "high"} <= found.keys():
            unknown = [None] * len(found["low"]) if isinstance(found["low"], list) else None
            found.setdefault("these_low", unknown)
            found.setdefault("these_high", unknown)
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            _with_both_targets(one)
