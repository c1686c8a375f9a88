"""An index of rows: the same as reading them all, of files that are packed, torn, foreign, or grow meanwhile."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expo_bench.errors import UserError
from expo_bench.storage.row_files import encode
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.sample_index import SampleIndex
from tests import fakes
from tests.synthetic_runs import GRADER, HOSTILE, make_run

WORDS = (
    '"', "\\", "problem_id", '","token_ids":', "Two", "two", "\n", "é", "{", "n", "\x1b", "u001b", "1b", "\t", "token",
    *HOSTILE[:4], "a",
)  # fmt: skip


def indexed(run: RunFolder) -> SampleIndex:
    index = SampleIndex(run, GRADER)
    assert index.refresh(60)
    return index


@pytest.mark.parametrize("packed", [False, True])
def test_an_index_says_what_the_rows_say(tmp_path: Path, packed: bool) -> None:
    run = make_run(tmp_path / "run", n_problems=12, n=5, texts=HOSTILE)
    samples, grades = list(run.samples()), {(g.problem_id, g.sample_index): g for g in run.grades(GRADER)}
    if packed:
        run.pack()
    index = indexed(run)
    table = index.table()
    names = [problem.problem_id for problem in index.problems]
    assert [names[place] for place in table.problem] == [sample.problem_id for sample in samples]
    assert table.sample.tolist() == [sample.sample_index for sample in samples]
    assert table.tokens.tolist() == [sample.n_tokens for sample in samples]
    right = [grades[sample.problem_id, sample.sample_index].correct is True for sample in samples]
    assert table.correct.tolist() == right
    n, c = index.problem_counts()
    assert (n.tolist(), c.sum()) == ([5] * 12, sum(right))
    wanted = [37, 3, 11]
    assert [row["text"] for row in index.samples.rows(wanted)] == [samples[row].text for row in wanted]


def test_a_search_finds_what_is_in_the_texts_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=2, n=2)
    draw = random.Random(0)
    texts = ["".join(draw.choices(WORDS, k=draw.randint(0, 6))) for _ in range(300)]
    problem = next(run.problems()).problem_id
    rows = [fakes.sample(0, place, problem_id=problem, text=text) for place, text in enumerate(texts)]
    run.samples_path.write_bytes(b"".join(map(encode, rows)))
    index = indexed(run)
    for words in (*WORDS, 'a"', "two\n", "token_ids", "\\n", "0", "b", problem, "stop"):
        hits, share = index.samples.search(words, 60)
        # letters beyond ASCII are told apart by case
        assert hits.tolist() == [words.lower() in text.lower() for text in texts], words
        assert share == 1
    # lines of another program
    run.samples_path.write_text("".join(json.dumps(json.loads(encode(row))) + "\n" for row in rows))
    foreign = indexed(run)
    for words in (*WORDS, "\\n", "null"):
        assert foreign.samples.search(words, 60)[0].tolist() == [words.lower() in text.lower() for text in texts], words


def test_no_answer_is_no_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=2, n=2)
    grades = [replace(grade, extracted=text, answer_class=None if text is None else 0)
              for grade, text in zip(run.grades(GRADER), (None, "null", "Nu", '"'), strict=True)]  # fmt: skip
    run.grades_path(GRADER).write_bytes(b"".join(map(encode, grades)))
    index = indexed(run)
    for words, wanted in {"nu": [1, 2], "null": [1], '"': [3], "ll": [1]}.items():
        assert np.flatnonzero(index.grades.search(words, 60)[0]).tolist() == wanted, words


def test_an_index_follows_a_file_that_grows(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=4, n=3)
    lines = run.samples_path.read_bytes().splitlines(keepends=True)
    run.samples_path.write_bytes(b"".join(lines[:5]) + lines[5][:40])
    index = indexed(run)
    assert len(index.samples) == 5
    run.samples_path.write_bytes(b"".join(lines))
    assert index.refresh(60)
    assert len(index.table().problem) == 12
    # a file that was replaced by a shorter one is read again
    run.samples_path.write_bytes(b"".join(lines[:2]))
    index.refresh(60)
    assert index.table().sample.tolist() == [json.loads(line)["sample_index"] for line in lines[:2]]


def test_rows_that_others_wrote_are_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=3, n=2)
    plain = indexed(run).table()
    lines = [json.dumps(json.loads(line), indent=None) for line in run.samples_path.read_text().splitlines()]
    run.samples_path.write_text("\n".join(lines) + "\n")
    again = indexed(run)
    assert np.array_equal(again.table().problem, plain.problem)
    assert np.array_equal(again.table().tokens, plain.tokens)
    run.samples_path.write_text("[1]\n")
    with pytest.raises(UserError, match="no row"):
        again.refresh(60)


def test_a_sample_without_a_verdict_has_none(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=2, n=2)
    first = next(run.samples())
    with run.samples_path.open("ab") as file:
        file.write(encode(replace(first, sample_index=7, n_tokens=None)))
    table = indexed(run).table()
    assert (table.status[-1], table.correct[-1], table.grade[-1], table.tokens[-1]) == (-1, False, -1, -1)
    assert np.isnan(table.agreement[-1])
