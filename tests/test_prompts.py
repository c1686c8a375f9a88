"""Prompts: what the policy is shown, and nothing of it mangled."""

from pathlib import Path

import pytest

from expo_bench.errors import UserError
from expo_bench.prompts import BOXED, PLAIN, QWEN_BOXED, SELF_EXPLAIN, solve_prompt
from tests import fakes


@pytest.mark.parametrize("question", ["What is {answer}?", "{question}", "\\frac{1}{2} + {0}", "a\\g<0>b", "100%"])
def test_braces_and_backslashes_of_the_question_stay(question: str) -> None:
    problem = fakes.problem(question=question, answer="{question}")
    for prompt in (BOXED, PLAIN, SELF_EXPLAIN):
        assert question in prompt.messages(problem)[-1]["content"]
    assert "final answer is {question}." in SELF_EXPLAIN.messages(problem)[0]["content"]


def test_solve_prompts_do_not_show_the_answer() -> None:
    problem = fakes.problem(question="Q", answer="secret", solution="secret")
    for prompt in (BOXED, PLAIN, QWEN_BOXED):
        assert "secret" not in str(prompt.messages(problem))


def test_system_turn_comes_first() -> None:
    assert [message["role"] for message in QWEN_BOXED.messages(fakes.problem())] == ["system", "user"]


def test_a_file_is_a_prompt_and_its_digest_follows_its_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    digests = set()
    for text in ("Solve {question}", "Solve {question}!"):
        file.write_text(text)
        digests.add(solve_prompt(str(file)).digest())
    assert len(digests | {BOXED.digest()}) == 3


@pytest.mark.parametrize("text", ["no slot", "{question} {question}"])
def test_a_file_without_the_slot_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(UserError, match="exactly once"):
        solve_prompt(str(file))
