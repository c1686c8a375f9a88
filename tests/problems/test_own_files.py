"""Users' files as they are met: what they are told from, what they say, and what is refused in which words."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow
import pytest
from pyarrow import ipc, parquet

from expo_bench.errors import UserError
from expo_bench.problems import Reading, load, load_all
from expo_bench.problems.reading.containers import read
from expo_bench.problems.reading.paths import Path as FieldPath
from expo_bench.problems.reading.paths import Place
from expo_bench.problems.reading.presets import presets
from expo_bench.settings import ReadingSettings, load_settings

SUMS = [{"problem": f"{n} + {n}?", "answer": str(2 * n)} for n in (1, 2, 3)]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def zstandard(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return bytes(sink.getvalue())


def table(path: Path, rows: list[dict[str, Any]], kind: str) -> None:
    columns = pyarrow.Table.from_pylist(rows)
    if kind == "parquet":
        parquet.write_table(columns, path)
        return
    opened = ipc.new_file if kind == "file" else ipc.new_stream
    with pyarrow.OSFile(str(path), "wb") as sink, opened(sink, columns.schema) as writer:
        writer.write_table(columns)


def comma_separated(path: Path, rows: list[dict[str, Any]], delimiter: str) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def archive(path: Path, rows: list[dict[str, Any]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner/rows.jsonl", lines(rows))
        packed.writestr("README.md", "not rows")


def tarred(path: Path, rows: list[dict[str, str]], mode: Literal["w", "w:gz"]) -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in (("a/rows.jsonl", lines(rows)), ("a/README.md", b"# Sums")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


CONTAINERS: dict[str, Callable[[Path], Any]] = {
    "lines": lambda path: path.write_bytes(lines(SUMS)),
    "array": lambda path: path.write_text(json.dumps(SUMS)),
    "indented": lambda path: path.write_text(json.dumps(SUMS, indent=2)),
    "objects": lambda path: path.write_text("".join(json.dumps(row, indent=1) for row in SUMS)),
    "entries": lambda path: path.write_text(json.dumps({f"Problem_{n}": row for n, row in enumerate(SUMS)})),
    "columns": lambda path: path.write_text(json.dumps({name: [row[name] for row in SUMS] for name in SUMS[0]})),
    "pandas": lambda path: path.write_text(
        json.dumps({name: {str(n): row[name] for n, row in enumerate(SUMS)} for name in SUMS[0]})
    ),
    "split": lambda path: path.write_text(
        json.dumps({"columns": list(SUMS[0]), "index": [0, 1, 2], "data": [list(row.values()) for row in SUMS]})
    ),
    "csv": lambda path: comma_separated(path, SUMS, ","),
    "tsv": lambda path: comma_separated(path, SUMS, "\t"),
    "parquet": lambda path: table(path, SUMS, "parquet"),
    "arrow": lambda path: table(path, SUMS, "file"),
    "arrow stream": lambda path: table(path, SUMS, "stream"),
    "gzip": lambda path: path.write_bytes(gzip.compress(lines(SUMS))),
    "bzip2": lambda path: path.write_bytes(bz2.compress(lines(SUMS))),
    "xz": lambda path: path.write_bytes(lzma.compress(lines(SUMS))),
    "zstandard": lambda path: path.write_bytes(zstandard(lines(SUMS))),
    "zip": lambda path: archive(path, SUMS),
    "tar": lambda path: tarred(path, SUMS, "w"),
    "tar.gz": lambda path: tarred(path, SUMS, "w:gz"),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_holds_rows_is_told_by_its_content(tmp_path: Path, container: str) -> None:
    path = tmp_path / "sums.of.any"  # a name that says nothing
    CONTAINERS[container](path)
    assert [row for _, row in read(path)] == SUMS
    assert [(one.question, one.answer) for one in load(str(path)).problems] == [
        ("1 + 1?", "2"), ("2 + 2?", "4"), ("3 + 3?", "6")
    ]  # fmt: skip


def test_a_folder_holds_the_rows_of_its_files(tmp_path: Path) -> None:
    for number, row in enumerate(SUMS):
        (tmp_path / f"part{number}").mkdir()
        (tmp_path / f"part{number}" / "1.json").write_text(json.dumps(row, indent=1))
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "README.md").write_text("# Sums")
    assert [row for _, row in read(tmp_path)] == SUMS


def test_a_cell_of_a_table_may_spell_a_list(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'python,json,text,said\n"[\'a\', None]","[""a""]","[1, 2]","[{\'role\': \'user\', \'content\': \'x\'}]"\n'
    )
    [(_, row)] = read(path)
    said = [{"role": "user", "content": "x"}]
    assert row == {"python": ["a", None], "json": ["a"], "text": "[1, 2]", "said": said}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "pointer of Git LFS"),
        (b"PAR1 and nothing else", "cannot be read"),
        (b"\x1f\x8b\x08 broken", "cannot be unpacked"),
        (b"PK\x03\x04 broken", "cannot be unpacked"),
        (b"some words\n", "is neither JSON"),
        (b'[{"question": "1"},', "not JSON"),
        (b'[{"question": "1"}, 2]', "row 2: not a JSON object"),
    ],
)
def test_what_holds_no_rows_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)


ROW = {"a": {"b": [{"c": 1}, {"c": 2}]}, "Problem Number": 4, "body": "Ann has 3.", "ask": "How many?", "n": None}
ROW |= {"chat": "user\nWhat is 1 + 1?\nassistant\n"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b[*].c", [1, 2]),
        ("n || body", "Ann has 3."),
        ("Problem Number", 4),
        ("Problem Name", None),
        ("{body} {ask}", "Ann has 3. How many?"),
        (r"chat ~ user\n(.*)\nassistant", "What is 1 + 1?"),
        (r"chat ~ \d", "1"),
        ("/top.model", "m"),
        ("#", 5),
        ("'org/model'", "org/model"),
        ("length(n)", None),
    ],
)
def test_paths(path: str, value: Any) -> None:
    assert FieldPath(path).find(Place(row=ROW, whole={"top": {"model": "m"}}, number=5)) == value


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"qestion": "a"}, "no field 'qestion', did you mean question"),
        ({"question": "a[*"}, "--map, question: the path .* is no JMESPath expression"),
        ({"question": "a ~ ("}, "is no regular expression"),
        ({"question": ["a"]}, "a path is text"),
    ],
)
def test_bad_mappings(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_bytes(lines(SUMS))
    with pytest.raises(UserError, match=words):
        load(str(path), reading=Reading(map=values))


def test_assignments() -> None:
    given = load_settings(ReadingSettings, None, {"map": ["text=code[*]", "id=a==b"]})
    assert given.map == {"text": "code[*]", "id": "a==b"}
    with pytest.raises(UserError, match="FIELD=PATH is wanted"):
        load_settings(ReadingSettings, None, {"map": ["text"]})


BOX = "Then $x=\\boxed{4}$."
SHAPES: dict[str, tuple[list[dict[str, Any]], Reading, tuple[Any, ...]]] = {
    "GSM8K": (
        [{"question": "x?", "answer": "2*2=<<2*2=4>>4 pens.\n#### 4"}], Reading(), ("x?", "4", "2*2=4 pens.\n#### 4")
    ),
    "thousands": ([{"question": "x?", "answer": "So\n#### 1,204"}], Reading(), ("x?", "1204", "So\n#### 1,204")),
    "a box in the answer": ([{"question": "x?", "answer": BOX}], Reading(), ("x?", "4", None)),
    "solution alone": ([{"problem": "x?", "solution": BOX}], Reading(), ("x?", "4", BOX)),
    "capitals": ([{"Question": "x?", "Answer": 4}], Reading(), ("x?", "4", None)),
    "MATH": ([{"problem": "x?", "level": "Level 2", "type": "A", "solution": BOX}], Reading(), ("x?", "4", BOX)),
    "one answer in a list": (
        [{"prompt": "x?", "answer": ["4"]}], Reading(preset="prompt-answer"), ("x?", "4", None)
    ),
    "conversation": (
        [{"prompt": [{"from": "system", "value": "s"}, {"from": "human", "value": "x?"}], "final_answer": "4"}],
        Reading(), ("x?", "4", None),
    ),
    "verl": (
        [{"data_source": "m", "prompt": [{"role": "user", "content": "x?"}], "reward_model": {"ground_truth": "4"}}],
        Reading(), ("x?", "4", None),
    ),
    "MetaMath": (
        [{"query": "x?", "response": "2\n#### 4\nThe answer is: 4"}],
        Reading(preset="metamath"), ("x?", "4", "2\n#### 4\nThe answer is: 4"),
    ),
    "declared": (
        [{"b": "Ann.", "q": "x?", "out": {"gold": "4"}}],
        Reading(map={"question": "{b} {q}", "answer": "out.gold"}), ("Ann. x?", "4", None),
    ),
    "declared over a preset": (
        [{"prompt": "x?", "answer": "3", "right": "4"}],
        Reading(preset="prompt-answer", map={"answer": "right"}), ("x?", "4", None),
    ),
    "rows inside": (
        [{"data": [{"question": "x?", "answer": "4"}]}], Reading(map={"rows": "data"}), ("x?", "4", None)
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_benchmark_files(tmp_path: Path, shape: str) -> None:
    rows, reading, wanted = SHAPES[shape]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(rows))
    [problem] = load(str(path), reading=reading).problems
    assert (problem.question, problem.answer, problem.solution) == wanted


def test_olympiad_bench_has_several_answers(tmp_path: Path) -> None:
    row = {"question": "x?", "final_answer": ["$1$", "$\\frac{1}{2}$"], "answer_type": "Numerical"}
    (tmp_path / "rows.jsonl").write_bytes(lines([{**row, "is_multiple_answer": True, "solution": ["a", "b"]}]))
    [problem] = load(str(tmp_path / "rows.jsonl")).problems
    assert (problem.answer, problem.solution) == ("1, \\frac{1}{2}", "a\nb")


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        ("1e-1", "4.2 (tolerance 0.1)"),
        (0.05, "4.2 (tolerance 0.05)"),
        (None, "4.2"),
        ("", "4.2"),
        ("1e-1,2", "4.2 (tolerance 0.1, 2)"),
        ([1], "4.2 (tolerance 1)"),
    ],
)  # fmt: skip
def test_a_field_may_tell_the_tolerance(tmp_path: Path, error: Any, answer: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines([{"question": "x?", "answer": "4.2", "error": error}]))
    [problem] = load(str(tmp_path / "rows.jsonl"), reading=Reading(map={"tolerance": "error"})).problems
    assert problem.answer == answer
    (tmp_path / "rows.jsonl").write_bytes(lines([{"question": "x?", "answer": "4.2", "error": "small"}]))
    with pytest.raises(UserError, match="the tolerance is 'small'; write a number above 0"):
        load(str(tmp_path / "rows.jsonl"), reading=Reading(map={"tolerance": "error"}))


def test_a_mapping_file(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines([{"q": "Q: x?", "gold": 4}]))
    (tmp_path / "map.yaml").write_text("question: {path: q, match: 'Q: (.*)'}\nanswer: gold\n")
    [problem] = load(str(tmp_path / "rows.jsonl"), reading=Reading(mapping=tmp_path / "map.yaml")).problems
    assert (problem.question, problem.answer) == ("x?", "4")


def test_rows_are_joined_by_a_key(tmp_path: Path) -> None:
    (tmp_path / "ids.jsonl").write_bytes(lines([{"id": "q-1"}, {"id": "q-0"}]))
    (tmp_path / "bench.jsonl").write_bytes(lines(SUMS))
    reading = Reading(
        join=str(tmp_path / "bench.jsonl"),
        map={"key": r"id ~ q-(\d+)", "joined_key": "#", "question": "joined.problem", "answer": "joined.answer"},
    )
    assert [one.question for one in load(str(tmp_path / "ids.jsonl"), reading=reading).problems] == ["2 + 2?", "1 + 1?"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"id": 1, "problem": "x?", "target": "4"},
            "no answer.*its fields: id, problem, target; say which is which: --map answer=PATH; .*--preset problem-tar",
        ),
        ({"id": 1, "instruction": "x?", "answer": "..."}, "its fields: id, instruction, answer;.*--map question=PATH"),
        ({"a": {"b": 1}, "rows": [{"c": 1}]}, r"its fields: a.b, rows\[\].c;.*--map 'rows=rows\[\*\]'"),
    ],
)
def test_a_refusal_names_the_fields_and_the_mapping_to_complete(tmp_path: Path, row: Any, words: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines([row]))
    with pytest.raises(UserError, match=words):
        load(str(tmp_path / "rows.jsonl"))


def test_bad_rows_are_named_counted_and_left_out_on_request(tmp_path: Path) -> None:
    rows: list[Any] = [*SUMS, {"problem": "none", "answer": ""}, *({"problem": "x", "answer": {"a": 1}} for _ in "12")]
    path = tmp_path / "sums.jsonl"
    path.write_bytes(lines(rows))
    with pytest.raises(UserError, match=r":5: 'answer' is neither .* of 6, as are 1 more.*--skip-bad-rows"):
        load(str(path))
    loaded = load(str(path), reading=Reading(skip_bad_rows=True))
    assert len(loaded.problems) == 4
    assert loaded.warnings[0].startswith("sums test: 2 rows are left out, the first: ")
    # a row without a gold answer stays, as in the files of benchmarks
    assert loaded.warnings[1] == "sums test: 1 of 4 problems have no gold answer: their samples cannot be graded"


def test_repeated_rows_are_one_problem_where_the_user_says_so(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_bytes(lines([*SUMS, *SUMS]))
    assert len(load(str(path)).problems) == 6
    loaded = load(str(path), reading=Reading(merge_repeats=True))
    assert [one.question for one in loaded.problems] == ["1 + 1?", "2 + 2?", "3 + 3?"]
    assert "6 rows are 3 problems, 2 times each: -n 2" in loaded.warnings[0]


def test_files_of_one_name_are_two_benchmarks(tmp_path: Path) -> None:
    for folder, name in (("aime24", "test"), ("amc23", "test"), ("a", "sums"), ("b", "sums")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.jsonl").write_bytes(lines(SUMS))
    found = load_all([str(tmp_path / folder / "test.jsonl") for folder in ("aime24", "amc23")])
    assert [one.problems[0].problem_id[:6] for one in found] == ["aime24", "amc23-"]
    same = load_all([str(tmp_path / folder / "sums.jsonl") for folder in ("a", "b")])
    assert [one.provenance["name"] for one in same] == ["a-sums", "b-sums"]
    assert {one.benchmark for loaded in same for one in loaded.problems} == {"a-sums", "b-sums"}
    named = load(f"mine={tmp_path / 'a' / 'sums.jsonl'}", split="train").problems[0]
    assert (named.benchmark, named.split, named.problem_id[:5]) == ("mine", "train", "mine-")


def test_presets_are_read_and_none_is_taken_for_another() -> None:
    assert {"qwen-math", "inspect", "evalscope", "verl-data", "opencompass"} <= set(presets())
    for preset in presets().values():
        assert preset.about and preset.kinds
        assert "question" in preset.fields.paths, preset.name


def test_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("problem,answer\n1+1?,2\n", encoding="utf-16")
    with pytest.raises(UserError, match="write it in UTF-8: iconv -f UTF-16"):
        load(str(path))


def test_a_conversation_is_no_list_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([{"messages": [{"role": "user", "content": "1+1?"}]}]))
    with pytest.raises(UserError, match="'messages' is a conversation, of which --map question=messages") as refused:
        load(str(path))
    assert "rows=" not in str(refused.value)


def test_choices_that_the_question_lacks_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([{"question": "1+1?", "choices": ["2", "3"], "answer": "A"}]))
    assert "'choices', which the questions do not show" in load(str(path)).warnings[0]
    declared = load(
        str(path), reading=Reading(map={"question": "{question} {choices[0]} {choices[1]}", "answer": "answer"})
    )
    assert declared.problems[0].question == "1+1? 2 3" and not declared.warnings
