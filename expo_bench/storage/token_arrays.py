"""Per-token numbers of the likelihoods, in Parquet: one folder a policy, one part a write, each written atomically."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.errors import UserError
from expo_bench.storage.row_files import write_atomically

_PART = "part-{:05d}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenArrays:
    """A candidate under a policy, token by token; arrays of shape (n,)."""

    problem_id: str
    candidate_id: str
    token_ids: tuple[int, ...]
    logprobs: NDArray[np.float32]
    """log pi(token | prompt and all tokens before it), in nats."""
    entropies: NDArray[np.float32] | None
    """Entropy of the policy where each token was taken, in nats; None where the engine tells none."""


def schema() -> Any:
    """Return the pyarrow schema of a part."""
    import pyarrow

    return pyarrow.schema(
        [
            ("problem_id", pyarrow.string()),
            ("candidate_id", pyarrow.string()),
            ("token_ids", pyarrow.list_(pyarrow.int32())),
            ("logprobs", pyarrow.list_(pyarrow.float32())),
            ("entropies", pyarrow.list_(pyarrow.float32())),
        ]
    )


def write_part(folder: Path, rows: Sequence[TokenArrays]) -> None:
    """Write the rows as the folder's next part: it is there whole, or not at all."""
    import pyarrow
    from pyarrow import parquet

    columns = schema()
    table = pyarrow.table(
        {column.name: [getattr(row, column.name) for row in rows] for column in columns}, schema=columns
    )
    buffer = BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    parts = _parts(folder)
    # not their count: where one was deleted, that would be the number of a part that is there
    number = _number(parts[-1]) + 1 if parts else 0
    write_atomically(folder / _PART.format(number), buffer.getvalue())


def read_parts(folder: Path) -> Iterator[TokenArrays]:
    """Yield the rows of all parts, the newest part first; of a candidate that stands in several, the newest row.

    A part is written before the likelihoods that belong to it: where a kill fell between the two, they come twice.

    Raises:
        UserError: a part is damaged.
    """
    from pyarrow import parquet

    seen: set[tuple[str, str]] = set()
    for path in reversed(_parts(folder)):
        try:
            table = parquet.read_table(path, schema=schema())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is damaged ({' '.join(str(error).split())[:200]}); delete {folder} and "
                f"{folder.name}.jsonl beside it, and give the expo-bench likelihood command again"
            ) from error
        columns = [table.column(name) for name in table.column_names]
        for index in range(table.num_rows):
            problem_id, candidate_id, token_ids, logprobs, entropies = (column[index] for column in columns)
            key = (problem_id.as_py(), candidate_id.as_py())
            if key not in seen:
                seen.add(key)
                yield TokenArrays(
                    problem_id=key[0],
                    candidate_id=key[1],
                    token_ids=tuple(token_ids.as_py()),
                    logprobs=np.asarray(logprobs.values, dtype=np.float32),
                    entropies=np.asarray(entropies.values, dtype=np.float32) if entropies.is_valid else None,
                )


def drop_unclaimed(folder: Path, claimed: Set[tuple[str, str]]) -> None:
    """Delete the newest part if none of its rows is claimed: a kill or a full disk fell between it and its likelihoods.

    Each further try would leave one more of its kind.

    Args:
        folder: of one policy.
        claimed: problem and candidate ids that have a likelihood.
    """
    from pyarrow import parquet

    for path in _parts(folder)[-1:]:
        keys = parquet.read_table(path, columns=["problem_id", "candidate_id"]).to_pylist()
        if not any((key["problem_id"], key["candidate_id"]) in claimed for key in keys):
            path.unlink()


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"), key=_number)


def _number(part: Path) -> int:
    return int(part.stem.rpartition("-")[2])
