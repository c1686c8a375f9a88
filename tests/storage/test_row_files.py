"""Rows that are packed, keys that are scanned, and what a kill leaves of both."""

from dataclasses import replace
from pathlib import Path

import pytest

from expo_bench.errors import UserError
from expo_bench.rows import Sample
from expo_bench.storage.row_files import Appender, encode, pack, packed, read_keys, read_rows, there, unpack
from tests import fakes

ROWS = [fakes.sample(number, index, text=f"\\boxed{{{number}}} \n ü") for number in range(3) for index in range(2)]


def written(tmp_path: Path) -> Path:
    path = tmp_path / "samples.jsonl"
    with Appender(path) as rows:
        rows.append(ROWS)
    return path


def test_a_packed_file_reads_as_the_plain_one(tmp_path: Path) -> None:
    path = written(tmp_path)
    plain = path.read_bytes()
    pack(path)
    assert not path.exists()
    assert list(read_rows(path, Sample)) == ROWS
    assert list(read_keys(path)) == [(row.problem_id, row.sample_index, False) for row in ROWS]
    unpack(path)
    assert path.read_bytes() == plain
    assert not packed(path).exists()


def test_a_packed_file_is_small(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with Appender(path) as rows:
        rows.append(replace(ROWS[0], sample_index=index) for index in range(1000))
    before = path.stat().st_size
    pack(path)
    assert packed(path).stat().st_size < before / 20


def test_only_a_new_row_unpacks(tmp_path: Path) -> None:
    path = written(tmp_path)
    pack(path)
    with Appender(path) as rows:
        rows.append([])
    assert there(path) == packed(path)
    new = fakes.sample(9, 0)
    with Appender(path) as rows:
        rows.append([new])
    assert there(path) == path
    assert not packed(path).exists()
    assert list(read_rows(path, Sample)) == [*ROWS, new]


def test_where_both_forms_are_there_the_plain_one_holds(tmp_path: Path) -> None:
    """A kill between the new form and the removal of the old leaves both."""
    path = written(tmp_path)
    plain = path.read_bytes()
    pack(path)
    path.write_bytes(plain + encode(fakes.sample(9, 0)))
    assert len(list(read_rows(path, Sample))) == len(ROWS) + 1
    pack(path)
    assert len(list(read_rows(path, Sample))) == len(ROWS) + 1


def test_nothing_to_pack(tmp_path: Path) -> None:
    pack(tmp_path / "samples.jsonl")
    assert list(tmp_path.iterdir()) == []
    assert list(read_rows(tmp_path / "samples.jsonl", Sample)) == []


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"no zstd" + content])
def test_a_damaged_packed_file_is_named(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "samples.jsonl"
    with Appender(path) as rows:
        rows.append(replace(ROWS[0], sample_index=index, text=str(index**9)) for index in range(5000))
    pack(path)
    packed(path).write_bytes(damage(packed(path).read_bytes()))  # type: ignore[operator]
    with pytest.raises(UserError, match=r"samples\.jsonl\.zst is damaged"):
        list(read_rows(path, Sample))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (encode(fakes.sample(1, 7)), (fakes.sample(1, 7).problem_id, 7, False)),
        (encode(replace(fakes.sample(1, 7), finish_reason="error")), (fakes.sample(1, 7).problem_id, 7, True)),
        # what a text says of itself is no field
        (encode(fakes.sample(1, 7, text='","finish_reason":"error"')), (fakes.sample(1, 7).problem_id, 7, False)),
        # another order of the fields, blanks, an escaped id: parsed as a whole
        (
            b'{"sample_index": 3, "problem_id": "a\\u00fc", "prompt_kind": "solve", "text": "", "token_ids": null, '
            b'"n_tokens": 0, "finish_reason": "error", "seed": 1, "sum_logprob": null}\n',
            ("aü", 3, True),
        ),
        (encode(replace(fakes.sample(1, 7), problem_id='a"\\b')), ('a"\\b', 7, False)),
    ],
)
def test_keys_are_those_of_the_rows(tmp_path: Path, line: bytes, expected: tuple[str, int, bool]) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(line + line[:-1])
    assert list(read_keys(path)) == [expected]
    (row,) = read_rows(path, Sample)
    assert (row.problem_id, row.sample_index, row.finish_reason == "error") == expected


def test_a_line_without_a_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(encode(ROWS[0]) + b'{"problem_id":"a"}\n')
    with pytest.raises(UserError, match=r"samples\.jsonl:2: not a Sample row"):
        list(read_keys(path))


@pytest.mark.parametrize(
    "line",
    [
        b'{"problem_id":"\xff","sample_index":1,"prompt_kind":"solve"}\n',
        b'{"problem_id":"a\tb","sample_index":1,"prompt_kind":"solve"}\n',
        b'{"problem_id":"a","sample_index":' + b"1" * 5000 + b',"prompt_kind":"solve"}\n',
        # torn in a text, with the next line behind it: taken for one row, the second would be drawn again
        encode(ROWS[0])[:90] + encode(ROWS[1]),
        encode(ROWS[0])[:-2] + b"\n",
    ],
)
def test_a_damaged_line_is_no_key(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(encode(ROWS[2]) + line + encode(ROWS[3]))
    with pytest.raises(UserError, match=r"samples\.jsonl:2: not a Sample row"):
        list(read_keys(path))


def test_a_torn_line_is_not_packed(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    pack(path)
    unpack(path)
    assert path.read_bytes() == whole
