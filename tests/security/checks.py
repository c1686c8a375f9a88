"""What must hold for any input: an answer or None, a configuration or a UserError, a row or a UserError."""

import json
from pathlib import Path
from typing import Any

from expo_bench.config import CandidatesConfig, EvalConfig, load_candidates_config, load_config
from expo_bench.errors import UserError
from expo_bench.grading.extraction import extract
from expo_bench.likelihood.chains import before_answer, is_repetitive, leaks_answer
from expo_bench.rows import Candidate, Grade, Likelihood, Manifest, Metric, Problem, Rollout, Sample, Thought
from expo_bench.settings import to_yaml
from expo_bench.storage.row_files import encode, read_rows
from tests import fakes

ROWS: tuple[Any, ...] = (Problem, Sample, Grade, Metric, Candidate, Likelihood, Rollout, Manifest, Thought)
GOOD_ROWS = [encode(row) for row in (fakes.problem(), fakes.sample(), fakes.grade(), fakes.candidate())]
KEYS = sorted(CandidatesConfig.model_fields)
GOOD_SETTINGS = load_candidates_config(None, {"model": "micro", "benchmarks": ["micro"]}).model_dump()

PIECES = (
    "\\boxed{", "\\boxed", "\\fbox{", "{", "}", "\\{", "\\}", "$", "$$", "\\(", "\\)", "\\[", "\\]", "answer is ",
    "The answer: ", "####", "\n#### 5", "<think>", "</think>", "<|begin_of_solution|>", "<|end_of_solution|>",
    "<|begin_of_thought|>", "\\frac{1}{2}", "5", "-", ".", "\n", " ", "\\", "\0", "\ud800", "é", "\u202e", "^", "_",
    "\\text{", "\\left(", "\\right)", "therefore ", "answer", "hint", "the correct answer is ", "\r", "\u2028",
)  # fmt: skip
YAML_PIECES = (
    "model: micro\n", "benchmarks: [micro]\n", "n: 4\n", "- a\n", "? ", ": ", "[", "]", "{", "}", "&a ", "*a ", "!!",
    "!!python/object/apply:os.system [true]", "|\n", ">\n", "'", '"', "#", "---\n", "...\n", "%YAML 1.2\n", "\t", "<<",
    "1e3", "0x1f", "2020-01-01", "~", "=", "engine_options: ", "\ufeff", "\x07", "- - - ",
)  # fmt: skip
JSON_PIECES = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"NaN", b"Infinity", b"1e999", b"-0", b"\\ud800", b"\xff", b"\0",
    b"\r", b'"problem_id":"x"', b'"sample_index":0', b" ", b"99999999999999999999", b"true", b"\n",
)  # fmt: skip
WORDS = ("micro", "math500", "a/b", "http://h/v1#m", "http://[", "1e999", "~", "../../x", "\0")


def one_line(error: UserError) -> None:
    assert len(str(error).splitlines()) == 1


def no_json(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def extraction(text: str, truncated: bool) -> None:
    found = extract(text, truncated=truncated)
    assert found is None or (isinstance(found, str) and found)
    if found:
        found.encode()


def rules_for_chains(text: str, gold: str, question: str) -> None:
    assert text.startswith(before_answer(text))
    assert leaks_answer(text, question=question, gold=gold) in (True, False, None)
    is_repetitive(text)


def settings(file: Path, values: dict[Any, Any], overrides: list[str]) -> None:
    given = {"model": "micro", "benchmarks": ["micro"]} | values
    for load, kind in ((load_config, EvalConfig), (load_candidates_config, CandidatesConfig)):
        try:
            config = load(None, given, overrides)
        except UserError as error:
            one_line(error)
            continue
        assert isinstance(config, kind)
        file.write_text(to_yaml(config), encoding="utf-8")
        assert repr(load(file, {})) == repr(config)  # not a number is not equal to itself


def settings_file(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        load_config(file, {"model": "micro"}, ["n=4"])
    except UserError as error:
        one_line(error)


def row_file(file: Path, content: bytes, row_type: Any) -> None:
    file.write_bytes(content)
    try:
        found = list(read_rows(file, row_type))
    except UserError as error:
        one_line(error)
        assert str(file) in str(error)
        return
    # what was taken for a row is one: written, it comes back equal
    again = b"".join(map(encode, found))
    file.write_bytes(again)
    assert list(read_rows(file, row_type)) == found
    for line in again.splitlines():
        json.loads(line, parse_constant=no_json)


def written_row(file: Path, text: str, number: int, logprob: float) -> None:
    row = fakes.sample(text=text, n_tokens=number, sum_logprob=logprob, error=text or None)
    file.write_bytes(encode(row))
    try:
        assert list(read_rows(file, Sample)) == [row]
    except AssertionError:
        # not a number and infinities are not written
        assert json.loads(encode(row))["sum_logprob"] is None
        assert logprob in (float("inf"), float("-inf")) or logprob != logprob
