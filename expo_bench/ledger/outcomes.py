"""What a run's samples came to, read by column: millions of verdicts in seconds."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.errors import UserError
from expo_bench.ledger import comparisons
from expo_bench.rows import STATUSES, TELLING, Manifest, Problem
from expo_bench.stats import Bools, Floats, Ints
from expo_bench.storage.row_files import there
from expo_bench.storage.run_folder import RunFolder

_BLOCK = 2**23
_FIELDS = {
    "problem_id": "string", "sample_index": "int32", "status": "string", "correct": "bool", "answer_class": "int32",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """A run under one grader. T counts its samples that tell whether they are right, sorted by problem and index."""

    name: str
    manifest: Manifest
    problems: dict[str, Problem]
    """Problem id -> problem, of those that are kept: with at least half as many such samples as the one with most."""
    place: NDArray[np.intp]
    """Place of each sample's problem among `problems`, shape (T,)."""
    index: Ints
    """sample_index, shape (T,)."""
    correct: Bools
    """Shape (T,)."""
    answer: Ints
    """Answer class, -1 for no answer, shape (T,)."""
    statuses: dict[str, int]
    """Samples of the whole run by status."""
    untold_problems: int
    """Problems that are not kept."""

    @property
    def n(self) -> Ints:
        """Samples of each problem, shape (P,)."""
        return np.bincount(self.place, minlength=len(self.problems))

    def solved(self, first: Ints) -> Ints:
        """Return the right samples among the first so many of each problem, by sample_index, shape (P,)."""
        taken = self.correct & self._among(first)
        return np.bincount(self.place[taken], minlength=len(self.problems))

    def first(self, n: Ints) -> Bools:
        """Return which of the first so many samples of each problem are right, problem after problem."""
        return np.asarray(self.correct[self._among(n)])

    def agreement(self, first: Ints) -> Floats:
        """Return the chance that two of the first so many samples give the same answer, shape (P,)."""
        taken = self._among(first)
        return comparisons.agreement(self.place[taken], self.answer[taken], len(self.problems))

    def _among(self, first: Ints) -> Bools:
        n = self.n
        rank = np.arange(len(self.place)) - np.repeat(np.cumsum(n) - n, n)
        return np.asarray(rank < first[self.place])

    def only(self, ids: list[str]) -> "Outcomes":
        """Return the outcomes of these problems, in this order."""
        position = {problem_id: place for place, problem_id in enumerate(ids)}
        moved = np.array([position.get(problem_id, -1) for problem_id in self.problems])[self.place]
        order = np.argsort(moved, kind="stable")
        order = order[moved[order] >= 0]
        return Outcomes(
            name=self.name,
            manifest=self.manifest,
            problems={problem_id: self.problems[problem_id] for problem_id in ids},
            place=moved[order],
            index=self.index[order],
            correct=self.correct[order],
            answer=self.answer[order],
            statuses=self.statuses,
            untold_problems=self.untold_problems,
        )


def read_outcomes(path: Path, grader: str, name: str) -> Outcomes:
    """Read the verdicts of a run.

    Raises:
        UserError: no run folder, samples without a grade, or a verdict that cannot be read.
    """
    run = RunFolder(path)
    manifest = run.read_manifest()
    problems = {problem.problem_id: problem for problem in run.problems()}
    file = run.grades_path(grader)
    if there(file) is None:
        known = ", ".join(run.graders()) or "none"
        raise UserError(f"{path} has no grades from {grader} (graders there: {known}): grade it, or choose by --grader")
    table = read_columns(file, _FIELDS)
    _check_all_graded(run, manifest, table.num_rows, grader)
    place = _places(table, problems, file)
    status = _codes(table.column("status"), STATUSES, file)
    correct = table.column("correct").fill_null(False).to_numpy()
    index = table.column("sample_index").to_numpy()
    answer = table.column("answer_class").fill_null(-1).to_numpy()
    order = np.lexsort((index, place))
    place, index, correct, status, answer = (column[order] for column in (place, index, correct, status, answer))
    if repeated := int(((np.diff(place) == 0) & (np.diff(index) == 0)).sum()):
        raise UserError(f"{repeated} samples in {file} have more than one grade")
    tells = np.isin(status, [STATUSES.index(name) for name in TELLING])
    ids = list(problems)
    n_told = np.bincount(place[tells], minlength=len(ids))
    # one problem with a few samples would cut everybody's curves short
    told = np.flatnonzero((n_told > 0) & (2 * n_told >= n_told.max(initial=0)))
    tells &= np.isin(place, told)
    return Outcomes(
        name=name,
        manifest=manifest,
        problems={ids[at]: problems[ids[at]] for at in told},
        place=np.searchsorted(told, place[tells]),
        index=index[tells],
        correct=correct[tells] & (status[tells] == STATUSES.index("graded")),
        answer=np.where(status[tells] == STATUSES.index("graded"), answer[tells], -1),
        statuses=dict(zip(STATUSES, np.bincount(status, minlength=len(STATUSES)).tolist(), strict=True)),
        untold_problems=len(ids) - len(told),
    )


def read_columns(path: Path, kinds: dict[str, str]) -> Any:
    """Return these fields of a JSON-lines file as a pyarrow table; a torn last line is left out.

    Raises:
        UserError: the file cannot be read, or a row has no problem or index.
    """
    import pyarrow
    from pyarrow import json

    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in kinds.items()])
    with _whole_lines(path) as lines:
        if lines is None:
            return schema.empty_table()
        try:
            table = json.read_json(
                lines,
                read_options=json.ReadOptions(block_size=_BLOCK),
                parse_options=json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            )
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    for name in ("problem_id", "sample_index"):
        if table.column(name).null_count:
            raise UserError(f"{path}: a row has no {name}")
    return table


@contextmanager
def _whole_lines(path: Path) -> Iterator[Any]:
    """Give the lines of a file, plain or packed, as pyarrow reads them; None where there are none."""
    import pyarrow

    found = there(path)
    if found is None or not found.stat().st_size:
        yield None
    elif found != path:
        # only whole lines are packed
        with pyarrow.input_stream(str(found), compression="zstd") as lines:
            yield lines
    else:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            whole = content.rfind(b"\n") + 1
        with pyarrow.memory_map(str(path)) as mapped:
            yield pyarrow.BufferReader(mapped.read_buffer(whole)) if whole else None


def _check_all_graded(run: RunFolder, manifest: Manifest, graded: int, grader: str) -> None:
    samples = manifest.counts.get("samples") if manifest.status == "finished" else None
    if samples is None:
        samples = sum(1 for _ in run.sample_keys())
    if samples != graded:
        raise UserError(
            f"{run.path} has {samples} samples and {graded} grades from {grader}: resume the run or grade it again"
        )


def _places(table: Any, problems: dict[str, Problem], file: Path) -> NDArray[np.intp]:
    encoded = table.column("problem_id").combine_chunks().dictionary_encode()
    position = {problem_id: place for place, problem_id in enumerate(problems)}
    names = encoded.dictionary.to_pylist()
    for name in names:
        if name not in position:
            raise UserError(f"{file}: problem {name} is not in problems.jsonl")
    places = np.array([position[name] for name in names], dtype=np.intp)
    return np.asarray(places[encoded.indices.to_numpy(zero_copy_only=False)])


def _codes(column: Any, names: tuple[str, ...], file: Path) -> Ints:
    encoded = column.combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    for name in found:
        if name not in names:
            raise UserError(f"{file}: {name!r} is no status; there are {', '.join(names)}")
    codes = np.array([names.index(name) for name in found], dtype=np.int64)
    return np.asarray(codes[encoded.indices.to_numpy(zero_copy_only=False)])
