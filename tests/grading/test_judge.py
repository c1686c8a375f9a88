import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expo_bench import rows
from expo_bench.grading import judge as answers
from expo_bench.grading.judge import Attempt, Judge, Verdict, extract, judge_many

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "answer_cases.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    # the clock of a busy machine must not decide a test
    with Judge(workers=2, timeout_seconds=60.0, cpu_seconds=5.0) as judge:
        yield judge


@pytest.fixture(scope="module")
def verdicts(judge: Judge) -> list[Verdict]:
    fields = [{key: value for key, value in case.items() if key in Attempt.__slots__} for case in CASES]
    return list(judge.judge_many(Attempt(**field) for field in fields))


def boxed(gold: str, answer: str) -> Attempt:
    return Attempt(gold=gold, text=f"\\boxed{{{answer}}}")


@pytest.mark.parametrize("index", range(len(CASES)), ids=lambda index: CASES[index]["source"][:40])
def test_case(index: int, verdicts: list[Verdict]) -> None:
    case, verdict = CASES[index], verdicts[index]
    assert (verdict.status, verdict.correct) == (case["status"], case["correct"]), case


def test_correct_is_set_where_graded(verdicts: list[Verdict]) -> None:
    assert {verdict.status for verdict in verdicts} == set(rows.STATUSES)
    assert all((verdict.correct is None) == (verdict.status != "graded") for verdict in verdicts)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"Answer: 3. So \boxed{4}", "4"),
        (r"The answer is $\frac{1}{2}$.", r"\frac{1}{2}"),
        (r"The answer is \(x+1\) for all x.", "x+1"),
        ("The answer is: **3.5**.", "3.5"),
        ("The final answer to the problem is 3.", "3"),
        ("The answer is 3. I was asked for the answer.", "3"),
        ("**Answer:** 1,234\nThat is all.", "1,234"),
        ("Answer:\n\n42\n", "42"),
        ("ANSWER = 7", "7"),
        ("answers: 7", None),
        ("The answer is therefore, simply $7$", "7"),
        ("... 7\n#### 8", "8"),
        ("#### 8\n#### 9", "9"),
        ("##### 8", None),
        ("#### Step 8: the end", None),
        ("so x = 7", None),
        ("$7$", "7"),
        (" 1,508.\n", "1,508"),
        ("**-3/4**", "-3/4"),
        ("<think>6 or 7?</think>\n\n7", "7"),
        ("(B)", "(B)"),
        ("7 + 1 = 8", None),
        ("7 8", None),
        ("Go", None),
        (r"\boxed{\frac{1}{2}", r"\frac{1}{2}"),
        ("\\boxed{7 \nand so on", "7"),
        (r"\boxed{}", None),
        ("<think>\\boxed{1}</think> a </think>\\boxed{2}", "2"),
        ("\\boxed{1}<think>hm", None),
        ("\\boxed{1}</think>", None),
        ("<|begin_of_solution|>\\boxed{1}<|end_of_solution|>\\boxed{2}", "1"),
        ("<|begin_of_solution|>\\boxed{1}", "1"),
        ("\\boxed{\ud800}", "?"),
    ],
)
def test_extract(text: str, answer: str | None) -> None:
    assert extract(text) == answer


@pytest.mark.parametrize("text", ["The answer is 12", r"\boxed{12", "#### 12"])
def test_a_text_that_was_cut_off_counts_only_what_is_boxed(text: str) -> None:
    assert extract(text) is not None
    assert extract(text, truncated=True) is None
    assert extract(text + r"\boxed{3}", truncated=True) == "3"


@pytest.mark.parametrize(
    "unit",
    ["answer is ", "answer:\n", "answer ", "#### 5", "#### \n", "<think>", "</think>", "\\boxed{", "$", " ", "*:"],
)
def test_extraction_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        text = "answer " + unit * (size // len(unit))
        began = time.process_time()
        extract(text)
        return time.process_time() - began

    # 8 times where it is linear, 64 times where it is quadratic
    assert min(seconds(200_000) for _ in range(3)) < 25 * max(min(seconds(25_000) for _ in range(3)), 0.001)


@pytest.mark.parametrize(
    ("gold", "answer", "correct"),
    [
        ("B", "B", True), ("B", "(B)", True), ("B", "b", True), ("B", "(b)", True), ("B", r"\text{B}", True),
        ("B", r"\text{(B)}", True), ("B", r"\mathbf{B}", True), ("B", "B) 10 eV", True), ("B", "B. ten", True),
        ("B", "(B) ten", True), ("B", "B: ten", True), ("B", "option B", True), ("B", r"\text{Choice } B", True),
        ("B", "C", False), ("B", "(C) B is wrong", False), ("B", "A. The B field", False), ("B", "A) and B)", False),
        ("B", "A, B", False), ("B", "A or B", False), ("B", "10 eV", False), ("C", "C = 4", False), ("A", "AB", False),
        ("B", "A = B", False), ("B", "B = 4", False), ("B", "$B$", True), ("C", r"\boldsymbol{C}", True),
        (r"\text{(B)}", r"{\text{(B)}}", True), (r"\text{(B)}", r"\[ \text{(B)} \]", True),
        ("B", r"\textit{B}", True), ("B", r"B \text{ or } C", False), (r"\text{(C)}", "C", True),
    ],
)  # fmt: skip
def test_letters_of_choices(judge: Judge, gold: str, answer: str, correct: bool) -> None:
    [verdict] = judge.judge_many([boxed(gold, answer)])
    assert (verdict.status, verdict.correct) == ("graded", correct)


@pytest.mark.parametrize(
    ("gold", "answer", "correct"),
    [
        ("4.2% (tolerance 0.1)", "4.2", True), ("4.2% (tolerance 0.1)", r"4.3\%", True),
        ("4.2% (tolerance 0.1)", "4.1", True), ("4.2% (tolerance 0.1)", "4.31", False),
        ("4.2% (tolerance 0.1)", r"\frac{43}{10}", True), ("4.2% (tolerance 0.1)", "4.2, 4.3", False),
        ("4.2% (tolerance 0.1)", "x", False), (r"\pi (tolerance 0.01)", "3.14", True),
        (r"\pi (tolerance 0.001)", "3.14", False), ("4.2 km (tolerance 0.1)", "4.3 km", True),
        ("1, 2.5 (tolerance 0.1)", "2.55, 1.05", True), ("1, 2.5 (tolerance 0.1)", "1, 2.7", False),
        ("1, 25 (tolerance 0.01, 1)", "1, 26", True), ("1, 25 (tolerance 0.01, 1)", "1.1, 25", False),
        ("3 (tolerance 0.5)", "3.5", True), ("3 (tolerance 0.5)", "2.4", False),
    ],
)  # fmt: skip
def test_a_gold_answer_may_have_a_tolerance(judge: Judge, gold: str, answer: str, correct: bool) -> None:
    [verdict] = judge.judge_many([boxed(gold, answer)])
    assert (verdict.status, verdict.correct) == ("graded", correct)


def test_choices_of_one_letter_are_one_answer(judge: Judge) -> None:
    pairs = [("B", "B) ten"), ("(B)", r"\text{B}"), ("B) ten", "C) ten"), ("A) and B)", "A"), ("(b)", "B")]
    assert list(judge.equivalent(pairs)) == [True, True, False, False, True]


def test_gold_comes_first(judge: Judge) -> None:
    seen: list[tuple[str, ...]] = []
    original = judge._pool.submit

    def submit(function: str, *arguments: str) -> Any:
        seen.append((function, *arguments))
        return original(function, *arguments)

    judge._pool.submit = submit  # type: ignore[method-assign]
    try:
        list(judge.judge_many([boxed("y = 7x", "7x + 0")]))
    finally:
        del judge._pool.submit  # type: ignore[method-assign]
    assert seen == [("gold", "y = 7x"), ("same", "y = 7x", "7x + 0")]


def test_the_same_question_is_asked_once(judge: Judge) -> None:
    attempts = [boxed("3a+1", answer) for answer in ("1+3a", "1+2a", "3a+1")] * 100
    verdicts = list(judge.judge_many(attempts))
    assert [verdict.correct for verdict in verdicts] == [True, False, True] * 100
    assert sum(verdict.seconds > 0 for verdict in verdicts) <= 2


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_CACHE_SIZE", 10)
    with Judge(workers=1) as judge:
        verdicts = list(judge.judge_many(boxed("a+1", f"{n}+a") for n in range(50)))
        assert len(judge._jobs) == 10
    assert [verdict.correct for verdict in verdicts] == [n == 1 for n in range(50)]


def test_reads_ahead_only_so_far(judge: Judge) -> None:
    read = 0

    def endless() -> Iterator[Attempt]:
        nonlocal read
        while True:
            read += 1
            yield boxed("b+2", f"{read % 7}+b")

    stream = judge.judge_many(endless())
    assert [next(stream).correct for _ in range(2000)] == [n % 7 == 2 for n in range(1, 2001)]
    assert read < 2000 + 600


def test_streams_may_be_mixed(judge: Judge) -> None:
    stream = judge.judge_many(boxed("c+1", f"c+{n}") for n in range(20))
    results = [next(stream).correct for _ in range(3)]
    assert list(judge.equivalent([("c+1", "1+c"), ("c+1", "c+2"), ("7", "7.0")])) == [True, False, True]
    assert results + [verdict.correct for verdict in stream] == [n == 1 for n in range(20)]


def test_equivalent_is_false_where_nothing_is_known(judge: Judge) -> None:
    pairs = [("9^{9^{9^9}}", "8^{8^{8^8}}"), ("(" * 40, "5"), ("", "5"), ("x" * 2000, "5"), ("east", "east")]
    assert list(judge.equivalent(pairs)) == [False, False, False, False, True]


def test_time_outs() -> None:
    slow = boxed("5", r"\binom{3000000}{1500000}")
    with Judge(workers=2, cpu_seconds=0.3) as judge:
        first, again, after = judge.judge_many([slow, slow, boxed("5", "5+0")])
        assert (first.status, first.correct) == (again.status, again.correct) == ("timeout", None)
        assert 0.2 < first.seconds < 5.0 and again.seconds == 0.0
        assert after.correct is True


def test_a_gold_answer_that_hangs_costs_one_time_out() -> None:
    with Judge(workers=1, cpu_seconds=0.3) as judge:
        verdicts = list(judge.judge_many(boxed(r"\binom{3000000}{1500000}", f"{n}") for n in range(50)))
    assert {verdict.status for verdict in verdicts} == {"bad_gold"}


def test_long_answers_are_not_kept() -> None:
    with Judge(workers=1) as judge:
        (verdict,) = judge.judge_many([boxed("5", "5" * 1_000_000)])
    assert verdict.status == "timeout" and verdict.extracted == "5" * 1000


def test_the_shared_judge_serves_threads() -> None:
    results: list[list[bool | None]] = []

    def work(number: int) -> None:
        verdicts = judge_many(boxed(f"{number}k", f"k \\cdot {n}") for n in range(10))
        results.append([verdict.correct for verdict in verdicts])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(sum, results)) == [1, 1, 1, 1]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_a_judge_of_its_own() -> None:
    assert judge_many([boxed("2f", "f+f")])[0].correct is True
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if judge_many([boxed("3f", "f+f+f")])[0].correct else 1
        finally:
            answers._close_shared()
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert judge_many([boxed("4f", "2f+2f")])[0].correct is True


def test_works_in_a_script_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "sympy.py").write_text("raise RuntimeError('the wrong sympy')")
    script = (
        "from expo_bench.grading.judge import *\nprint(judge_many([Attempt(gold='2g', text='#### 2 g')])[0].correct)"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_importing_answers_is_light() -> None:
    code = "import sys, expo_bench.grading.judge; print(*({'sympy', 'math_verify', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
