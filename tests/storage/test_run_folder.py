"""The run folder: what was written comes back, what was torn is cut, what is damaged is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expo_bench.errors import UserError
from expo_bench.rows import Grade, Manifest, Metric, Problem, Sample
from expo_bench.storage.row_files import Appender, encode, read_rows, write_atomically
from expo_bench.storage.run_folder import SCHEMA_VERSION, RunFolder
from tests import fakes

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    text=TEXT,
    logprob=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ids=st.none() | st.lists(st.integers(0, 2**31)),
)
def test_a_sample_comes_back_equal(
    text: str, logprob: float | None, ids: list[int] | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    row = fakes.sample(text=text, sum_logprob=logprob, token_ids=None if ids is None else tuple(ids))
    path = tmp_path_factory.mktemp("rows") / "samples.jsonl"
    with Appender(path) as rows:
        rows.append([row])
    assert list(read_rows(path, Sample)) == [row]
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    "row",
    [
        fakes.problem(domain=("Algebra", "Number Theory"), solution=None, level=None),
        fakes.grade(status="timeout", correct=None, extracted=None, answer_class=None),
        Metric(name="pass@2", subset="all", grader="g", value=None, stderr=None, ci_low=None, ci_high=None,
               n_problems=0, n_samples=0, counts={"graded": 0}),
    ],
)  # fmt: skip
def test_rows_come_back_equal(row: Problem | Grade | Metric, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(row))
    assert list(read_rows(path, type(row))) == [row]


@pytest.mark.parametrize("torn", [b"{", b'{"problem_id": "x', b"\x00" * 70_000, encode(fakes.sample(9))[:-1]])
def test_a_torn_last_line_is_skipped_and_then_cut(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "samples.jsonl"
    whole = encode(fakes.sample(1)) + encode(fakes.sample(2))
    path.write_bytes(whole + torn)
    assert [row.problem_id for row in read_rows(path, Sample)] == [
        fakes.sample(1).problem_id,
        fakes.sample(2).problem_id,
    ]
    with Appender(path) as rows:
        rows.append([fakes.sample(3)])
    assert path.read_bytes() == whole + encode(fakes.sample(3))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"nonsense\n", "Invalid JSON"),
        (b'{"problem_id": "x"}\n', "sample_index"),
        (encode(fakes.sample()).replace(b'"n_tokens":3', b'"n_tokens":"3"'), "n_tokens"),
        (encode(fakes.sample()).replace(b'"seed"', b'"sead"'), "seed"),
        (b'{"text": "\xff\xfe"}\n', "Invalid JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(encode(fakes.sample()) + line)
    with pytest.raises(UserError) as raised:
        list(read_rows(path, Sample))
    assert f"{path}:2" in str(raised.value)
    assert says in str(raised.value)


def _manifest() -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION, status="started", started="2026-01-01T00:00:00+00:00", finished=None,
        protocol_hash="0", protocol={}, model={}, benchmarks={}, seed=0, environment={}, counts={},
    )  # fmt: skip


def test_manifest_comes_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_manifest(_manifest())
    assert run.read_manifest() == _manifest()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "not a run folder"),
        ("", "damaged"),
        ("[]", "damaged"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1}), "upgrade"),
        (json.dumps({"schema_version": SCHEMA_VERSION}), "damaged"),
    ],
)
def test_a_bad_manifest_is_one_line(tmp_path: Path, text: str | None, says: str) -> None:
    run = RunFolder(tmp_path)
    if text is not None:
        run.manifest_path.write_text(text)
    with pytest.raises(UserError, match=says) as raised:
        run.read_manifest()
    assert "\n" not in str(raised.value)


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    code = "import sys; from expo_bench.storage.run_folder import RunFolder\n"
    code += "held = RunFolder(sys.argv[1]).lock(); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process"):
            RunFolder(tmp_path).lock()
        holder.kill()
    RunFolder(tmp_path).lock().close()


def test_an_atomic_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    write_atomically(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(UserError, match=r"cannot write .*metrics\.json: disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_are_dropped_with_their_grades_and_nothing_else(tmp_path: Path) -> None:
    run, torn = RunFolder(tmp_path / "run"), b'{"problem_id": "x'
    failure = {"finish_reason": "error", "text": "", "token_ids": None, "n_tokens": 0, "sum_logprob": None}
    kept = [encode(fakes.sample(0, 0, text="é\n")), encode(fakes.sample(1, 1)).replace(b'"seed":7', b'"seed": 7')]
    run.path.mkdir()
    run.samples_path.write_bytes(kept[0] + encode(fakes.sample(0, 1, **failure)) + kept[1] + torn)
    for grader in ("one", "two"):
        with Appender(run.grades_path(grader)) as grades:
            grades.append(fakes.grade(number, index, grader=grader) for number, index in [(0, 1), (0, 0), (1, 1)])
    assert run.has_errors()
    run.drop_errors()
    assert not run.has_errors()
    assert run.samples_path.read_bytes() == b"".join(kept)
    for grader in ("one", "two"):
        assert [(row.problem_id, row.sample_index) for row in run.grades(grader)] == [
            (fakes.grade(0).problem_id, 0),
            (fakes.grade(1).problem_id, 1),
        ]
    assert not run.explanations_path.exists()


def test_a_self_explanation_that_failed_is_dropped(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with Appender(run.explanations_path) as rows:
        rows.append([fakes.sample(0, 0), fakes.sample(0, 1, finish_reason="error")])
    assert run.has_errors()
    run.drop_errors()
    assert [row.sample_index for row in run.explanations()] == [0]
