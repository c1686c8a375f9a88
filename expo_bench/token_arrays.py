"""Per-token numbers of the likelihoods, in Parquet: one folder a policy, one part a write, each written atomically."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.store import write_atomically

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
    write_atomically(folder / _PART.format(len(_parts(folder))), buffer.getvalue())


def read_parts(folder: Path) -> Iterator[TokenArrays]:
    """Yield the rows of all parts, the newest part first; of a candidate that stands in several, the newest row.

    A part is written before the likelihoods that belong to it: where a kill fell between the two, they come twice.
    """
    from pyarrow import parquet

    seen: set[tuple[str, str]] = set()
    for path in reversed(_parts(folder)):
        table = parquet.read_table(path, schema=schema())
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


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))
