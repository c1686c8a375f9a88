import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import expo_bench.problems
from expo_bench.commands.cli import app
from expo_bench.config import EvalConfig
from expo_bench.errors import UserError
from expo_bench.problems import BENCHMARKS, load, published, select
from expo_bench.problems.base import Entry
from expo_bench.problems.identity import digest, with_ids
from expo_bench.problems.loading import _PUBLISHED, GROUPS, budget, load_all
from expo_bench.rows import Problem


def write(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROWS: dict[str, list[dict[str, Any]]] = {
    "math_train.jsonl": [{"problem": "1+1?", "level": "Level 1", "type": "Algebra", "solution": r"\boxed{2}"}],
    "math_test.jsonl": [{"problem": "1+2?", "level": "Level ?", "type": "Geometry", "solution": r"\boxed 3"}],
    "math500.jsonl": [{"problem": "1+3?", "solution": "4", "answer": "4", "subject": "Algebra", "level": 5}],
    "aime24.jsonl": [{"id": 1, "problem": "1+4?", "solution": "5", "answer": "005", "url": "https://a.example"}],
    "aime25.jsonl": [{"id": "0", "problem": "1+5?", "answer": "6"}],
    "omni_math.jsonl": [{"domain": [], "difficulty": 9.5, "problem": "1+6?", "solution": "", "answer": "7"}],
    "omni_math_rule.jsonl": [{"domain": [], "difficulty": 1, "problem": "1+7?", "solution": "8", "answer": "8.0"}],
    "gsm8k_train.jsonl": [{"question": "1+8?", "answer": "#### 9"}],
    "gsm8k_test.jsonl": [{"question": "1+9?", "answer": "#### 10"}],
}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    for name, rows in ROWS.items():
        write(tmp_path / name, rows)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "split", "question", "answer", "file"),
    [
        ("math", "train", "1+1?", "2", "math_train.jsonl"),
        ("math", None, "1+2?", "3", "math_test.jsonl"),
        ("math500", None, "1+3?", "4", "math500.jsonl"),
        ("aime24", None, "1+4?", "5", "aime24.jsonl"),
        ("aime25", "test", "1+5?", "6", "aime25.jsonl"),
        ("omni-math", None, "1+6?", "7", "omni_math.jsonl"),
        ("omni-math-rule", None, "1+7?", "8", "omni_math_rule.jsonl"),
        ("gsm8k", "train", "1+8?", "9", "gsm8k_train.jsonl"),
        ("gsm8k", None, "1+9?", "10", "gsm8k_test.jsonl"),
    ],
)
def test_each_benchmark_from_a_folder(
    data_dir: Path, name: str, split: str | None, question: str, answer: str, file: str
) -> None:
    loaded = load(name, split=split, data_dir=data_dir)
    (problem,) = loaded.problems
    assert (problem.question, problem.answer) == (question, answer)
    assert (problem.benchmark, problem.split) == (name, split or "test")
    assert problem.problem_id.startswith(f"{name}-")
    assert len(problem.problem_id) == len(name) + 13
    assert loaded.provenance == {
        "name": name,
        "split": split or "test",
        "source": file,
        "revision": None,
        "digest": digest(loaded.problems),
        "digest_status": "unknown" if name == "omni-math" else "changed",
        "n_problems": 1,
    }
    assert len(loaded.warnings) == 1  # of the digest, or where there is none, of the number of problems
    assert loaded.warnings[0].startswith(f"{name} {split or 'test'}: ")
    json.dumps(loaded.provenance)


def test_names_are_complete() -> None:
    assert set(BENCHMARKS) == {
        "math", "math500", "aime24", "aime25", "omni-math", "omni-math-rule", "gsm8k", "gpqa-diamond", "micro",
        "aime22-24", "aime26", "hmmt-feb25", "hmmt-nov25", "hmmt-feb26", "brumo25", "cmimc25", "amc23", "minerva",
        "olympiadbench", "olymmath-easy", "olymmath-hard", "beyondaime", "math-beyond",
    }  # fmt: skip
    assert GROUPS["aime"] == ("aime24", "aime25", "aime26")


def test_every_split_has_a_digest_or_a_count() -> None:
    for benchmark in _PUBLISHED.values():
        assert set(benchmark.files) == set(benchmark.digests) | set(benchmark.counts)
        assert all(len(digest) == 64 for digest in benchmark.digests.values())


GPQA_ROW = {
    "Question": "What is 1 + 1?", "Correct Answer": " 2\n", "Incorrect Answer 1": "1", "Incorrect Answer 2": "3",
    "Incorrect Answer 3": "4", "Explanation": "Count.", "High-level domain": "Physics", "Subdomain": "Sums",
    "Record ID": "rec0",
}  # fmt: skip


def test_choices_stand_in_the_order_of_the_seed(tmp_path: Path) -> None:
    rows = [GPQA_ROW, *({**GPQA_ROW, "Question": f"What is {n} + 1 - {n} + 1?"} for n in range(199))]
    write(tmp_path / "gpqa_diamond.jsonl", rows)
    loaded = load("gpqa-diamond", data_dir=tmp_path)
    first = loaded.problems[0]
    choices = dict(line.split(") ", 1) for line in first.question.splitlines() if line[1:3] == ") ")
    assert sorted(choices) == ["A", "B", "C", "D"] and sorted(choices.values()) == ["1", "2", "3", "4"]
    assert choices[first.answer] == "2"
    assert (first.subject, first.domain, first.solution, first.source) == ("Physics", ("Sums",), "Count.", "rec0")
    # no place is better than another: 50 of 200 each, give or take four standard deviations of 6.1
    counts = [sum(problem.answer == letter for problem in loaded.problems) for letter in "ABCD"]
    assert all(25 < count < 75 for count in counts), counts
    # another seed, another order; the same seed, the same, whatever else is in the file
    other = load("gpqa-diamond", data_dir=tmp_path, choice_seed=1)
    assert [one.answer for one in other.problems] != [one.answer for one in loaded.problems]
    assert (loaded.provenance["choice_seed"], other.provenance["choice_seed"]) == (0, 1)
    write(tmp_path / "gpqa_diamond.jsonl", [GPQA_ROW])
    alone = load("gpqa-diamond", data_dir=tmp_path)
    assert alone.problems == [first]
    assert alone.warnings == ["gpqa-diamond test: there are 1 problems where 198 were published"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Incorrect Answer 2": None}, "has no Incorrect Answer 2"),
        ({"Incorrect Answer 2": "2"}, "the correct answer is among the incorrect ones"),
    ],
)
def test_bad_choices(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path / "gpqa_diamond.jsonl", [{**GPQA_ROW, **changes}])
    with pytest.raises(UserError, match=message):
        load("gpqa-diamond", data_dir=tmp_path)


def test_a_gated_benchmark_says_how_to_get_access(monkeypatch: pytest.MonkeyPatch) -> None:
    from expo_bench.problems import hub
    from expo_bench.problems.base import Unavailable

    def refuse(*_: Any) -> None:
        raise Unavailable("Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub")

    monkeypatch.delenv("EXPO_BENCH_DATA", raising=False)
    monkeypatch.setattr(hub, "fetch", refuse)
    with pytest.raises(UserError) as caught:
        load("gpqa-diamond")
    told = str(caught.value)
    assert "gated" in told and "HF_TOKEN" in told and "accept its terms" in told and "gpqa_diamond.jsonl" in told
    assert "\n" not in told


def test_folder_from_the_environment(data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EXPO_BENCH_DATA", str(data_dir))
    assert load("aime25").problems[0].question == "1+5?"
    other = tmp_path / "other"
    other.mkdir()
    write(other / "aime25.jsonl", [{"problem": "2+5?", "answer": 7}])
    assert load("aime25", data_dir=other).problems[0].question == "2+5?"  # the argument wins


def test_matching_digest(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = load("aime25", data_dir=data_dir).provenance["digest"]
    monkeypatch.setitem(_PUBLISHED["aime25"].digests, "test", known)  # type: ignore[arg-type]
    loaded = load("aime25", data_dir=data_dir)
    assert loaded.provenance["digest_status"] == "match"
    assert loaded.warnings == []


def problem(question: str, answer: str) -> Problem:
    return Problem(problem_id=question, benchmark="b", split="test", question=question, answer=answer)


def test_digest_depends_on_questions_and_answers_but_not_on_order() -> None:
    one, two = problem("a", "1"), problem("b", "2")
    assert digest([one, two]) == digest([two, one])
    others = [[one], [one, two, two], [problem("a", "2"), problem("b", "1")], [problem("a", "1b"), problem("", "2")]]
    assert len({digest(problems) for problems in [[one, two], *others]}) == 5


def test_repeated_questions_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = [{"question": "1+1?", "answer": answer} for answer in ("2", "2", "two")]
    loaded = load(str(write(tmp_path / "my.jsonl", rows)))
    first, second, third = (problem.problem_id for problem in loaded.problems)
    assert (second, third) == (f"{first}-2", f"{first}-3")
    assert loaded.warnings == [
        "my test: 2 of 3 problems repeat the question of an earlier one: their ids end in -2, -3 and so on"
    ]


def test_id_is_made_of_the_question_alone() -> None:
    (one,), (two,) = (with_ids([Entry(question="1+1?", answer=answer)], "b", "test") for answer in "23")
    assert one.problem_id == two.problem_id == "b-cfe29f43bcc2"  # printf 1+1? | sha256sum


def test_rows_without_an_answer_are_kept_and_counted(data_dir: Path) -> None:
    write(data_dir / "math_test.jsonl", [{"problem": "Prove it.", "solution": "Clear."}])
    loaded = load("math", data_dir=data_dir)
    assert loaded.problems[0].answer == ""
    assert "math test: 1 of 1 problems have no gold answer: their samples cannot be graded" in loaded.warnings
    write(data_dir / "omni_math.jsonl", ROWS["omni_math.jsonl"])
    warnings = load("omni-math", data_dir=data_dir).warnings
    assert warnings == ["omni-math test: there are 1 problems where 4428 were published"]


def test_repairs_are_counted(data_dir: Path) -> None:
    row = ROWS["omni_math_rule.jsonl"][0]
    write(data_dir / "omni_math_rule.jsonl", [row, row | {"problem": "2+2?", "answer": "\frac{8}{2}"}])
    loaded = load("omni-math-rule", data_dir=data_dir)
    assert loaded.problems[1].answer == r"\frac{8}{2}"
    assert loaded.warnings[0].startswith("omni-math-rule test: 1 of 2 problems had LaTeX commands")


def test_user_file(tmp_path: Path) -> None:
    rows = [
        {"question": "1+1?", "answer": 2.0, "solution": "two", "level": "Level 3", "subject": "Sums", "extra": [1]},
        {"problem": "1+2?", "answer": "3"},
    ]
    path = write(tmp_path / "my sums.jsonl", rows)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    loaded = load(str(path))
    one, two = loaded.problems
    assert (one.question, one.answer, one.solution, one.level, one.subject) == ("1+1?", "2", "two", 3, "Sums")
    assert (two.question, two.answer, two.solution, two.level, two.subject) == ("1+2?", "3", None, None, None)
    assert one.benchmark == "my-sums"
    assert loaded.provenance["source"] == "my sums.jsonl"
    assert loaded.provenance["digest_status"] == "unknown"
    assert loaded.warnings == []


def test_user_file_with_the_name_of_a_benchmark(tmp_path: Path) -> None:
    path = write(tmp_path / "math500.jsonl", [{"question": "1+1?", "answer": "2"}])
    assert "your file math500.jsonl, not the benchmark" in load(str(path)).warnings[0]


GOOD = '{"question": "1+1?", "answer": "2"}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{GOOD}\nnot json\n", ":2: not JSON"),
        (f"{GOOD}\n{GOOD[:-5]}", ":2: not JSON"),
        (f"{GOOD}\n\n[{GOOD}]\n", ":3: not a JSON object"),
        ("3 4", "is neither JSON"),
        (f"{GOOD}\n" + '{"answer": "2"}', ":2: has no question or problem"),
        ('{"question": "1+1?"}', ":1: has no answer"),
        ('{"question": "1+1?", "answer": " "}', ":1: has no answer"),
        ('{"question": "1+1?", "answer": NaN}', ":1: 'answer' is nan"),
        ('{"question": "1+1?", "answer": {"a": "2"}}', ":1: 'answer' is neither text nor a number"),
        ('{"question": 11, "answer": "2"}', ":1: field 'question' is no text"),
        ('{"question": "1+1?", "answer": "2", "level": "hard"}', ":1: 'level' is 'hard'"),
        ('{"question": "1+1? \\ud800", "answer": "2"}', ":1: 'question' holds half of a surrogate pair"),
        ("[" * 100_000, ":1: not JSON"),
        ("", "holds no problems"),
        (b'{"question": "\xff"}', ":1: not JSON"),
    ],
)
def test_bad_user_file(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "my.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_row_of_a_benchmark(data_dir: Path) -> None:
    write(data_dir / "aime25.jsonl", [{"id": "0"}])
    with pytest.raises(UserError, match=r"aime25\.jsonl:1: has no problem"):
        load("aime25", data_dir=data_dir)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mathh"}, "unknown benchmark 'mathh' (did you mean math?); choose math, math500, aime24"),
        ({"name": "no/such.jsonl"}, "no/such.jsonl is not a file"),
        ({"name": "math500", "split": "train"}, "math500 has no split 'train'; choose test"),
        ({"name": "gsm8k", "split": "dev"}, "gsm8k has no split 'dev'; choose train or test"),
        ({"name": "micro", "split": "dev"}, "micro has no split 'dev'"),
        ({"name": "micro", "revision": "main"}, "micro has no revisions"),
        ({"name": "aime25", "data_dir": Path("no/such")}, "the data folder no/such that --data-dir names does not"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(**arguments)
    assert message in str(caught.value)


def test_refusals_with_files(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data_dir / "empty").mkdir()
    with pytest.raises(UserError, match=r"is a folder without files of rows"):
        load(str(data_dir / "empty"))
    with pytest.raises(UserError, match=r"aime25\.jsonl has no revisions; leave --dataset-revision out"):
        load("aime25", data_dir=data_dir, revision="main")
    monkeypatch.setenv("EXPO_BENCH_DATA", str(data_dir / "gone"))
    with pytest.raises(UserError, match="that EXPO_BENCH_DATA names does not exist"):
        load("aime25")


def test_micro_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(load=lambda split: [problem(split, "1")])
    monkeypatch.setattr(expo_bench.problems, "micro", fake, raising=False)
    loaded = load("micro", split="train")
    assert loaded.problems[0].question == "train"
    assert loaded.provenance["source"] == "built in"


def test_import_is_light() -> None:
    code = (
        "import sys, expo_bench.problems\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'pyarrow', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NEW: dict[str, tuple[str, dict[str, Any], tuple[Any, ...]]] = {
    "aime26": ("aime_2026", {"problem_idx": 1, "problem": "x?", "answer": 27}, ("27", None, ())),
    "hmmt-feb25": (
        "hmmt_feb_2025",
        {"problem_idx": 1, "problem": "x?", "answer": "\\frac{1}{2}", "problem_type": ["Algebra", "Geometry"]},
        ("\\frac{1}{2}", "Algebra", ("Algebra", "Geometry")),
    ),
    "amc23": ("amc_2023", {"id": 0, "question": "x?", "answer": 27.0, "url": "u"}, ("27", None, ())),
    "minerva": ("minerva_math", {"problem": "x?", "solution": "\\boxed{2 m}", "type": "A"}, ("2 m", "A", ())),
    "olympiadbench": (
        "olympiad_bench",
        {"question": "x?", "solution": ["a"], "final_answer": ["$69$,$84$"], "unit": "km", "subfield": "Algebra"},
        ("69,84 km", "Algebra", ()),
    ),
    "olymmath-easy": ("olymmath_en_easy", {"problem": "x?", "answer": "2", "subject": "A"}, ("2", "A", ())),
    "beyondaime": ("beyond_aime", {"problem": "x?", "answer": 2}, ("2", None, ())),
    "math-beyond": (
        "math_beyond",
        {"problem": "x?", "answer": "2", "q-7b_pass@1024": 0.0, "q-7b_unsolved": True, "q-1b_unsolved": False},
        ("2", None, ("unsolved by q-7b",)),
    ),
    "aime22-24": ("aimo_validation_aime", {"problem": "x?", "answer": "004", "solution": "s"}, ("4", None, ())),
}


@pytest.mark.parametrize("name", NEW)
def test_benchmarks_of_2026(tmp_path: Path, name: str) -> None:
    file, row, wanted = NEW[name]
    write(tmp_path / f"{file}.jsonl", [row])
    [problem] = load(name, data_dir=tmp_path).problems
    assert (problem.question, problem.answer, problem.subject, problem.domain) == ("x?", *wanted)


def test_solutions_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "aime25.jsonl", [{"problem": "x?", "answer": "4"}, {"problem": "y?", "answer": "5"}])
    rows = [{"expected_answer": "4", "reference_solution": "2+2"}, {"expected_answer": "6", "reference_solution": "?"}]
    write(tmp_path / "aime25_solutions.jsonl", rows)
    assert [one.solution for one in load("aime25", data_dir=tmp_path).problems] == ["2+2", None]
    write(tmp_path / "aime25_solutions.jsonl", rows[:1])
    assert "1 solutions do not fit 2 problems" in load("aime25", data_dir=tmp_path).warnings[0]


def test_a_group_is_several_benchmarks_with_one_budget(tmp_path: Path) -> None:
    for file in ("aime24", "aime25", "aime_2026"):
        write(tmp_path / f"{file}.jsonl", [{"problem": f"{file}?", "answer": "4"}])
    assert [one.provenance["name"] for one in load_all(["aime"], data_dir=tmp_path)] == ["aime24", "aime25", "aime26"]
    assert (budget(["aime", "math500"]), budget(["math500", "my.jsonl"])) == (32_768, None)
    with pytest.raises(UserError, match="aime is the group aime24"):
        load("aime")


def test_the_zero_set_of_math_beyond_is_asked_for_without_drawing_it(tmp_path: Path) -> None:
    rows = [
        {"problem": f"{n}?", "answer": str(n), "a_pass@1024": 0.0, "a_unsolved": n == 1, "b-7b_unsolved": "True"}
        for n in (1, 2)
    ]
    (tmp_path / "math_beyond.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load("math-beyond", data_dir=tmp_path)
    assert found.provenance["digest_status"] == "unknown"
    assert found.warnings == ["math-beyond test: there are 2 problems where 181 were published"]
    assert [one.domain for one in found.problems] == [("unsolved by a", "unsolved by b-7b"), ("unsolved by b-7b",)]
    assert [one.question for one in select(found.problems, subjects=["unsolved by a"])] == ["1?"]


def test_prompts_and_budgets_of_papers_are_the_defaults() -> None:
    facts = [one for one in map(published, BENCHMARKS) if one is not None]
    assert {one.prompt for one in facts} == {EvalConfig.model_fields["prompt"].default}
    listed = CliRunner().invoke(app, ["list"]).stdout
    assert "aime25: AIME I and II of 2025; test 30; none stated; boxed, 32,768 tokens" in listed
    assert "math500: MATH-500, of MATH's test problems; test 500; MIT; boxed, 2,048 tokens" in listed
