"""Rules on a chain's text, case by case."""

import pytest

from expo_bench.likelihood.chains import before_answer, is_repetitive, leaks_answer


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("1 + 1 = 2, so \\boxed{2}.", "1 + 1 = 2, so"),
        ("The answer is $\\boxed{\\frac{1}{2}}$.", "The answer is $"),
        ("First \\boxed{1}, no, \\boxed{2}", "First \\boxed{1}, no,"),
        ("\\boxed{3} as asked: \\boxed{}", ""),
        ("Sum:\n\\[\n\\fbox{3}", "Sum:\n\\[\n"),
        ("4 and 4. The answer is 4.", "4 and 4. The answer is"),
        ("They have 42.\n#### 42", "They have 42.\n####"),
        ("no answer at all ", "no answer at all"),
        ("", ""),
    ],
)
def test_a_chain_ends_before_its_own_final_answer(text: str, cut: str) -> None:
    assert before_answer(text) == cut


LONG = " Then we add the parts one after the other, carry what is over, and look at the sum again." * 3


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("We are given the answer. It works because 17 is odd. \\boxed{17}", True),
        ("As the given answer is 17, work backwards. \\boxed{17}", True),
        ("Hint: use symmetry. \\boxed{17}", True),
        ("The correct answer is 17." + LONG + " \\boxed{17}", True),
        ("It must be 17." + LONG + " \\boxed{17}", True),
        (LONG + " Therefore the correct answer is \\boxed{17}", False),
        (LONG + " The sum is 17. \\boxed{17}", False),
        ("It must be 117 or 17.5 or x17." + LONG + " \\boxed{17}", False),
        ("Given the triangle, a known result applies. \\boxed{17}", False),
        ("\\boxed{17}", False),
        ("", False),
    ],
)
def test_leaks(text: str, leaks: bool) -> None:
    assert leaks_answer(text, question="What is x?", gold="17") is leaks


def test_what_the_question_holds_is_no_leak() -> None:
    question = "Hint: 17 is prime. Is it?"
    assert leaks_answer(f"{question} So 17 is it." + LONG, question=question, gold="17") is False


def test_an_answer_of_one_character_stands_anywhere_by_chance() -> None:
    assert leaks_answer("We take 2 steps." + LONG, question="What is x?", gold="2") is False


def test_without_a_gold_answer_a_leak_cannot_be_told() -> None:
    assert leaks_answer("The correct answer is 2.", question="What is x?", gold="") is None


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("", False),
        ("again " * 19, False),
        ("again " * 21, True),
        (" ".join(map(str, range(200))), False),
        (" ".join(map(str, [*range(60), *range(60), *range(60)])), True),
        # 20 of the 161 windows of 20 words come twice
        (" ".join(map(str, [*range(141), *range(39)])), False),
    ],
)
def test_repetition(text: str, repeats: bool) -> None:
    assert is_repetitive(text) is repeats
