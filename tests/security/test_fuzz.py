"""Whatever comes in: an answer or None, a configuration or a UserError, a row or a UserError; and within a second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from expo_bench.config import load_config
from expo_bench.errors import UserError
from expo_bench.rows import Problem
from tests.security import checks, fuzz
from tests.security.checks import GOOD_ROWS, JSON_PIECES, KEYS, PIECES, ROWS, WORDS, YAML_PIECES

pytestmark = pytest.mark.fault

many = hypothesis_settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
LIMIT_SECONDS = 1.0

pieces, yaml_pieces, json_pieces = (st.sampled_from(some) for some in (PIECES, YAML_PIECES, JSON_PIECES))
COMPLETIONS = st.one_of(
    st.lists(pieces, max_size=60).map("".join),
    st.lists(st.one_of(pieces, st.text(max_size=8)), max_size=40).map("".join),
    st.tuples(pieces, st.integers(1, 3000)).map(lambda pair: pair[0] * pair[1]),
    st.tuples(pieces, pieces, st.integers(1, 1000)).map(lambda three: (three[0] + three[1]) * three[2]),
    st.text(),
)


@contextmanager
def in_time() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < LIMIT_SECONDS


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_random_inputs(tmp_path: Path, target: str) -> None:
    found = fuzz.run(target, 500, tmp_path / "input")
    assert found.failures == []
    assert found.inputs == 500


def test_what_fails_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "extract", lambda text, truncated: [][0] if "\\boxed" in text else None)
    found = fuzz.run("answers: extraction", 50, tmp_path / "input")
    assert found.failures and "IndexError" in found.failures[0]


@many
@given(text=COMPLETIONS, truncated=st.booleans())
def test_extract(text: str, truncated: bool) -> None:
    with in_time():
        checks.extraction(text, truncated)


@many
@given(text=COMPLETIONS, gold=st.one_of(st.just("5"), st.text(max_size=6)), question=st.text(max_size=20))
def test_rules_for_chains(text: str, gold: str, question: str) -> None:
    with in_time():
        checks.rules_for_chains(text, gold, question)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates(), st.binary(max_size=5),
    st.sampled_from(WORDS),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)
keys = st.sampled_from(KEYS)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "input"


@many
@given(
    values=st.dictionaries(st.one_of(keys, st.text(max_size=8)), VALUES, max_size=6),
    overrides=st.lists(
        st.one_of(st.text(max_size=30), st.tuples(keys, st.text(max_size=20)).map("=".join)), max_size=3
    ),
)
def test_config(file: Path, values: dict[str, object], overrides: list[str]) -> None:
    with in_time():
        checks.settings(file, values, overrides)


@many
@given(content=st.one_of(st.lists(yaml_pieces, max_size=30).map(lambda parts: "".join(parts).encode()), st.binary()))
def test_config_files(file: Path, content: bytes) -> None:
    with in_time():
        checks.settings_file(file, content)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A good row with a few bytes changed, the like of JSON, or anything."""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        line = bytearray(draw(st.sampled_from(GOOD_ROWS)))
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(line) - 1))
            line[at : at + draw(st.integers(0, 6))] = draw(st.one_of(json_pieces, st.binary(max_size=4)))
        return bytes(line)
    if kind == 1:
        return b"".join(draw(st.lists(json_pieces, max_size=40))) + b"\n"
    return draw(st.binary(max_size=200)) + b"\n"


@many
@given(content=lines(), row_type=st.sampled_from(ROWS))
def test_row_files(file: Path, content: bytes, row_type: type[Problem]) -> None:
    with in_time():
        checks.row_file(file, content, row_type)


@many
@given(text=st.text(st.characters(exclude_categories=["Cs"])), number=st.integers(0, 2**40), logprob=st.floats())
def test_rows_that_are_written_come_back(file: Path, text: str, number: int, logprob: float) -> None:
    checks.written_row(file, text, number, logprob)


def test_yaml_that_grows_by_aliases_is_refused_or_small(file: Path) -> None:
    parts = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    parts += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 9)]
    file.write_text("\n".join(parts) + "\n")
    with in_time(), pytest.raises(UserError):
        load_config(file, {"model": "micro", "benchmarks": ["micro"]})
