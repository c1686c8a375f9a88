"""The rows of a file or a folder, whatever holds them; its first bytes tell what that is, never its name.

JSON lines, a JSON array or object, CSV and TSV, Parquet, Arrow; each also packed by gzip, bzip2, xz or Zstandard, or in
a zip (such as an .eval log of inspect) or tar archive or a folder.
"""

import ast
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from expo_bench.errors import UserError
from expo_bench.problems.base import Row

Rows = Iterator[tuple[str, Row]]
"""Rows with the place of each, such as file:line."""
SHAPE = '{"question": "1 + 1?", "answer": "2", "solution": "...", "level": 1, "subject": "Sums"}'
_ENDINGS = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".eval", ".zip")
_PACKINGS = (".gz", ".bz2", ".xz", ".zst")
_NOT_ROWS = {"dataset_info.json", "dataset_dict.json", "state.json", "config.json", "package.json"}
_TAR_AT = 257  # bytes before the mark of a tar archive
_LIST = re.compile(r"\[\s*(?:['\"{]|None\b|null\b)")
_ZSTANDARD = 93  # method of zip members that Python's own zipfile does not unpack
_BOM = b"\xef\xbb\xbf"


def read(path: Path) -> Rows:
    """Yield the rows of a file, or of all files below a folder that hold rows.

    Raises:
        UserError: the file cannot be read, or holds something else; the line names the place.
    """
    try:
        if not path.is_dir():
            yield from _of_file(path)
            return
        files = sorted(one for one in path.rglob("*") if one.is_file() and holds_rows(one))
        if not files:
            raise UserError(f"{path} is a folder without files of rows ({', '.join(_ENDINGS)}, also packed)")
        for file in files:
            yield from _of_file(file)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def holds_rows(path: Path) -> bool:
    """Tell whether the name of a file in a folder says that it may hold rows."""
    endings = [ending.lower() for ending in path.suffixes]
    ending = endings[-2] if len(endings) > 1 and endings[-1] in _PACKINGS else (endings or [""])[-1]
    hidden = path.name.startswith((".", "_"))
    return ending in _ENDINGS and not hidden and path.name not in _NOT_ROWS


def _of_file(path: Path) -> Rows:
    with path.open("rb") as file:
        yield from _of_stream(file, str(path))


def _of_stream(file: IO[bytes], name: str) -> Rows:
    start = file.read(8)
    kind = next((kind for mark, kind in _MARKS if start.startswith(mark)), None)
    if kind is not None:
        file.seek(0)
        yield from kind(file, name)
        return
    head = (start + file.read(4096)).removeprefix(_BOM)
    file.seek(0)
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        yield from _tar(file, name)
        return
    if head.startswith(b"version https://git-lfs"):
        raise UserError(f"{name} is a pointer of Git LFS, not the file itself: fetch that with `git lfs pull`")
    if not head.strip() or head.lstrip()[:1] in b"{[":
        yield from _json(file, name)
    else:
        yield from _table(file, name)


def _json(file: IO[bytes], name: str) -> Rows:
    """Read JSON lines one after the other; if the first line is no whole object, the text as a whole."""
    for number, line in enumerate(file, start=1):
        text = line.removeprefix(_BOM) if number == 1 else line
        if not text.strip():
            continue
        if not _is_object(text):
            file.seek(0)
            yield from _whole_json(file.read(), name)
            return
        rest = _json_lines(file, name, number + 1)
        second = next(rest, None)
        if second is None:
            for _, row in _elements(json.loads(text)):
                yield f"{name}:{number}", _object(row, f"{name}:{number}")
            return
        yield f"{name}:{number}", json.loads(text)
        yield second
        yield from rest


def _json_lines(file: IO[bytes], name: str, first: int) -> Rows:
    for number, line in enumerate(file, start=first):
        if line.strip():
            place = f"{name}:{number}"
            try:
                row = json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise UserError(f"{place}: not JSON ({error}); write one object a line, such as {SHAPE}") from error
            yield place, _object(row, place)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _object(row: Any, place: str) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"{place}: not a JSON object; rows are objects, such as {SHAPE}")
    return row


def _whole_json(content: bytes, name: str) -> Rows:
    try:
        text = content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}:{line}: not JSON ({error})") from error
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except RecursionError as error:
            raise UserError(f"{name}:1: not JSON ({error})") from error
        except json.JSONDecodeError as error:
            raise UserError(f"{name}:{error.lineno}: not JSON ({error.msg}, column {error.colno})") from error
        for key, row in _elements(value):
            place = f"{name}, {'row' if isinstance(key, int) else 'entry'} {key}"
            yield place, _object(row, place)


def _elements(value: Any) -> Iterator[tuple[int | str, Any]]:
    """Yield the rows of an array, of an object of rows, or of names and values, as pandas writes; else it."""
    if isinstance(value, list):
        yield from enumerate(value, start=1)
    elif not isinstance(value, dict) or not value:
        yield 1, value
    elif split := _split(value):
        yield from enumerate(split, start=1)
    elif columns := _columns(value):
        yield from enumerate((dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)), 1)
    elif all(isinstance(one, dict) for one in value.values()) and _alike(value):
        yield from value.items()
    else:
        yield 1, value


def _split(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of names and lists of values, as pandas (split) and the tables of Weights & Biases have them."""
    names, rows = value.get("columns"), value.get("data")
    if not isinstance(names, list) or not isinstance(rows, list) or not all(isinstance(one, str) for one in names):
        return None
    if not all(isinstance(one, list) and len(one) == len(names) for one in rows):
        return None
    return [dict(zip(names, one, strict=True)) for one in rows]


def _columns(value: dict[str, Any]) -> dict[str, list[Any]] | None:
    inner = list(value.values())
    if all(isinstance(one, dict) and one and all(map(str.isdigit, one)) for one in inner):
        keys = list(inner[0])
        return (
            {name: list(one.values()) for name, one in value.items()} if all(list(o) == keys for o in inner) else None
        )
    if len(inner) > 1 and all(isinstance(one, list) and len(one) == len(inner[0]) for one in inner):
        return value
    return None


def _alike(entries: dict[str, dict[str, Any]]) -> bool:
    """Tell whether objects look like rows of a table: each has half of the first's fields; one alone is numbered."""
    names = set(next(iter(entries.values())))
    alike = bool(names) and all(2 * len(names & set(row)) >= len(names) for row in entries.values())
    return alike and (len(entries) > 1 or next(iter(entries))[-1:].isdigit())


def _table(file: IO[bytes], name: str) -> Rows:
    csv.field_size_limit(2**31 - 1)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        header = text.readline()
        delimiter = max(",\t;|", key=header.count)
        if not header.count(delimiter):
            raise UserError(f"{name} is neither JSON, Parquet nor Arrow, and no table: its first line names no columns")
        text.seek(0)
        for number, row in enumerate(csv.DictReader(text, delimiter=delimiter), start=1):
            yield f"{name}, row {number}", {key: _cell(value) for key, value in row.items() if key is not None}
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} is neither JSON, Parquet, Arrow nor a table in UTF-8; if it is text, write it in UTF-8: "
            f"iconv -f UTF-16 -t UTF-8 {name} (or -f LATIN1, as it was written; {error})"
        ) from error
    except csv.Error as error:
        raise UserError(f"{name} cannot be read as a table with commas between: {error}") from error
    finally:
        text.detach()


def _cell(text: Any) -> Any:
    """Return a cell, or the list of texts or objects that it spells, in JSON or as Python prints it."""
    if not isinstance(text, str) or not _LIST.match(text) or text[-1:] != "]":
        return text
    for parsed in (json.loads, ast.literal_eval):
        try:
            found = parsed(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and (
            all(one is None or isinstance(one, str) for one in found) or all(isinstance(one, dict) for one in found)
        ):
            return found
    return text


def _tar(file: IO[bytes], name: str) -> Rows:
    import tarfile

    try:
        with tarfile.open(fileobj=file) as archive:
            members = [one for one in archive.getmembers() if one.isfile() and holds_rows(Path(one.name))]
            if not members:
                raise UserError(f"{name} is an archive without files of rows ({', '.join(_ENDINGS)})")
            for member in members:
                content = archive.extractfile(member)
                yield from _of_stream(io.BytesIO(content.read() if content else b""), f"{name}/{member.name}")
    except tarfile.TarError as error:
        raise UserError(f"{name} cannot be unpacked: {error}") from error


def _parquet(file: IO[bytes], name: str) -> Rows:
    from pyarrow import parquet

    yield from _batches(lambda: parquet.ParquetFile(file).iter_batches(batch_size=1024), name)


def _arrow_file(file: IO[bytes], name: str) -> Rows:
    from pyarrow import ipc

    def batches() -> Iterator[Any]:
        reader = ipc.open_file(file)
        return (reader.get_batch(number) for number in range(reader.num_record_batches))

    yield from _batches(batches, name)


def _arrow_stream(file: IO[bytes], name: str) -> Rows:
    from pyarrow import ipc

    yield from _batches(lambda: iter(ipc.open_stream(file)), name)


def _batches(opened: Callable[[], Iterator[Any]], name: str) -> Rows:
    import pyarrow

    number = 0
    try:
        for batch in opened():
            for row in batch.to_pylist():
                number += 1
                yield f"{name}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error


def _unpacked(library: str, opener: str) -> Callable[[IO[bytes], str], Rows]:
    def rows(file: IO[bytes], name: str) -> Rows:
        import importlib

        try:
            # whole: Parquet and zip are read from their end
            content = getattr(importlib.import_module(library), opener)(file).read()
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{name} cannot be unpacked: {error}") from error
        yield from _of_stream(io.BytesIO(content), name)

    return rows


def _zstandard(file: IO[bytes], name: str) -> Rows:
    import pyarrow

    try:
        content = pyarrow.CompressedInputStream(file, "zstd").read()
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{name} cannot be unpacked: {error}") from error
    yield from _of_stream(io.BytesIO(content), name)


def _archive(file: IO[bytes], name: str) -> Rows:
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            members = [one for one in archive.namelist() if holds_rows(Path(one))]
            log = {"header.json", "_journal/start.json"} & set(archive.namelist())
            if log and any(one.startswith("samples/") for one in members):
                yield name, _inspect_log(archive, members)
                return
            if not members:
                raise UserError(f"{name} is an archive without files of rows ({', '.join(_ENDINGS)})")
            for member in members:
                yield from _of_stream(io.BytesIO(_member(archive, member)), f"{name}/{member}")
    except zipfile.BadZipFile as error:
        raise UserError(f"{name} cannot be unpacked: {error}") from error


def _inspect_log(archive: Any, members: list[str]) -> Row:
    """Return the log that the parts of an .eval archive make up, as inspect writes it into one .json."""
    header = "header.json" if "header.json" in archive.namelist() else "_journal/start.json"
    samples = [json.loads(_member(archive, one)) for one in members if one.startswith("samples/")]
    return {**json.loads(_member(archive, header)), "samples": samples}


def _member(archive: Any, member: str) -> bytes:
    about = archive.getinfo(member)
    if about.compress_type != _ZSTANDARD:
        content: bytes = archive.read(member)
        return content
    import pyarrow

    # past the local header: 30 bytes, then a name and an extra field of the lengths that it tells
    archive.fp.seek(about.header_offset + 26)
    lengths = archive.fp.read(4)
    archive.fp.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), io.SEEK_CUR)
    packed = io.BytesIO(archive.fp.read(about.compress_size))
    unpacked: bytes = pyarrow.CompressedInputStream(packed, "zstd").read()
    return unpacked


_MARKS: tuple[tuple[bytes, Callable[[IO[bytes], str], Rows]], ...] = (
    (b"PAR1", _parquet),
    (b"ARROW1", _arrow_file),
    (b"\xff\xff\xff\xff", _arrow_stream),
    (b"\x1f\x8b", _unpacked("gzip", "open")),
    (b"BZh", _unpacked("bz2", "open")),
    (b"\xfd7zXZ", _unpacked("lzma", "open")),
    (b"\x28\xb5\x2f\xfd", _zstandard),
    (b"PK\x03\x04", _archive),
)
