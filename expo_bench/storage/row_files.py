"""Rows in files of JSON lines: codec, append, atomic write; a torn last line is left out, and cut off on append.

A file that nothing will be added to may be packed (Zstandard, NAME.jsonl.zst beside where NAME.jsonl was). Readers take
either, the plain one where both are there; whoever adds a row unpacks the file first. By hand, since no library of JSON
lines cuts off what a kill left of the last one before it appends.
"""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from expo_bench.errors import UserError
from expo_bench.rows import (
    Candidate,
    Grade,
    Likelihood,
    LikelihoodMetric,
    Manifest,
    Metric,
    Problem,
    Rollout,
    Sample,
    SlotAnswers,
    Thought,
)

_BLOCK = 2**22

AnyRow = (
    Problem
    | Sample
    | Grade
    | Metric
    | Candidate
    | Likelihood
    | SlotAnswers
    | LikelihoodMetric
    | Rollout
    | Manifest
    | Thought
)
Row = TypeVar("Row", bound=AnyRow)

_adapters: dict[Any, TypeAdapter[Any]] = {}


def adapter_of(row_type: Any) -> TypeAdapter[Any]:
    """Return the codec of a row, or of a list of rows."""
    # built at first use: building all of them would cost start-up time
    if row_type not in _adapters:
        _adapters[row_type] = TypeAdapter(row_type)
    return _adapters[row_type]


def encode(row: AnyRow) -> bytes:
    """Return the row as one line of JSON, newline included."""
    return adapter_of(type(row)).dump_json(row) + b"\n"


def packed(path: Path) -> Path:
    """Return where the packed form of a file of rows lies."""
    return path.with_name(f"{path.name}.zst")


def there(path: Path) -> Path | None:
    """Return the file that holds the rows, plain or packed; None where there is neither."""
    return next((one for one in (path, packed(path)) if one.exists()), None)


def row_files(folder: Path) -> list[Path]:
    """Return the files of rows in a folder by their plain names, in alphabetical order."""
    return sorted({one.with_suffix("") if one.suffix == ".zst" else one for one in folder.glob("*.jsonl*")})


@contextmanager
def _lines(path: Path) -> Iterator[Iterable[bytes]]:
    """Give the lines of the file, one after the other, unpacked on the way."""
    found = there(path)
    if found is None:
        yield ()
    elif found == path:
        with path.open("rb") as file:
            yield file
    else:
        import pyarrow

        try:
            with pyarrow.input_stream(str(found), compression="zstd") as file:
                # lines of a kilobyte are not asked for one by one
                yield io.BufferedReader(file, 2**20)
        except OSError as error:
            raise UserError(f"{found} is damaged: {error}; put a copy in its place, or delete it and resume") from error


def read_rows(path: Path, row_type: type[Row]) -> Iterator[Row]:
    """Yield the rows of a JSON-lines file, one at a time; a torn last line is left out.

    Raises:
        UserError: a line that is whole is no such row.
    """
    adapter = adapter_of(row_type)
    with _lines(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield adapter.validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise UserError(
                    f"{path}:{number}: not a {row_type.__name__} row: {where} {first['msg']}; mend or delete the line"
                ) from error


_KEY = re.compile(rb'\{"problem_id":"([ !#-\[\]-~]+)","sample_index":(\d{1,9}),')


def read_keys(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield problem id, sample index and whether it ended in an error, of each sample of a file; as `read_rows`.

    A line as `encode` writes it is not parsed beyond its beginning: that is ten times as fast. What it holds besides
    is looked at when it is read.
    """
    adapter = adapter_of(Sample)
    with _lines(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            # two beginnings: a line that was torn, with the next one behind it
            if (found := _KEY.match(line)) and line.endswith(b"}\n") and line.rfind(b'{"problem_id":"') == 0:
                # inside a text its quotation marks would be escaped
                yield found[1].decode(), int(found[2]), b'"finish_reason":"error"' in line
                continue
            try:
                row = adapter.validate_json(line)
            except ValidationError as error:
                raise UserError(f"{path}:{number}: not a Sample row; mend or delete the line") from error
            yield row.problem_id, row.sample_index, row.finish_reason == "error"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a full disk, a folder that may not be written to and the like an error of one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; "
            "what is done is saved: once that is put right, the same command goes on"
        ) from error


def _write(file: IO[bytes], content: bytes) -> None:
    # a file without a buffer may take a part only, where the disk is about to be full
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def append_line(path: Path, line: str) -> None:
    """Append a line that is no row; a kill or a full disk may tear it.

    Raises:
        UserError: it cannot be written.
    """
    with writing(path), path.open("ab", buffering=0) as file:
        _write(file, line.encode() + b"\n")


class Appender:
    """Appends rows to a JSON-lines file, a batch at a time; what `append` returned from survives a kill."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # a packed file stays packed where nothing is added
        self._file = None if there(path) == packed(path) else self._open()

    def _open(self) -> IO[bytes]:
        path = self._path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # no buffer: after a failed write nothing may be left that is tried again when the file is closed
            file: IO[bytes] = path.open("ab", buffering=0)
            _cut_torn_line(path)
        return file

    def append(self, rows: Iterable[AnyRow]) -> None:
        """Write the rows in one system call, so that a kill leaves at most one torn line, as a full disk does.

        Raises:
            UserError: the file cannot be written.
        """
        content = b"".join(map(encode, rows))
        if not content:
            return
        if self._file is None:
            unpack(self._path)
            self._file = self._open()
        with writing(self._path):
            _write(self._file, content)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "Appender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pack(path: Path) -> None:
    """Put the packed form of a file in its place; a kill leaves the one, the other or both, and no part of any.

    Raises:
        UserError: it cannot be written.
    """
    if not path.exists():
        return
    import pyarrow

    target = packed(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with writing(target):
        _cut_torn_line(path)
        try:
            with path.open("rb") as plain, pyarrow.CompressedOutputStream(str(temporary), "zstd") as out:
                while block := plain.read(_BLOCK):
                    out.write(block)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        path.unlink()


def unpack(path: Path) -> None:
    """Put the plain form of a file in the place of the packed one; as `pack`."""
    with _lines(path) as lines:
        write_atomically(path, lines)
    packed(path).unlink(missing_ok=True)


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            size = min(65536, position)
            file.seek(position - size)
            newline = file.read(size).rfind(b"\n")
            if newline >= 0:
                position += newline + 1 - size
                break
            position -= size
        if position < end:
            file.truncate(position)


def write_atomically(path: Path, content: str | bytes | Iterable[bytes]) -> None:
    """Replace the file in one step: a reader sees the old content or the new, never a part.

    Raises:
        UserError: it cannot be written; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    if isinstance(content, str):
        content = content.encode()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def drop(path: Path, row_type: type[Row], unwanted: Callable[[Row], bool]) -> None:
    """Rewrite a JSON-lines file without the unwanted rows; the other lines stay byte for byte."""
    with _lines(path) as lines:
        pairs = zip(lines, read_rows(path, row_type), strict=False)
        write_atomically(path, (line for line, row in pairs if not unwanted(row)))
    packed(path).unlink(missing_ok=True)
