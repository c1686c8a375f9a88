import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from expo_bench.errors import UserError
from expo_bench.problems import micro
from expo_bench.problems.identity import digest

# worked out by hand: the gold value, and what left to right gives; both modulo 100
BY_HAND = [
    ("3 + 4", 7, 7),
    ("9 * 9", 81, 81),
    ("3 + 4 * 2", 11, 14),
    ("9 + 9 * 9", 90, 62),
    ("9 * 9 * 9", 29, 29),
    ("5 + 5 * 8 + 7", 52, 87),
    ("1 + 9 * 8 * 7", 5, 60),
    ("2 * 3 + 4 * 5", 26, 50),
    ("9 + 1 * 8 * 7 * 5", 89, 0),
    ("8 + 6 + 1 * 2 + 9 * 3", 43, 17),
    ("6 * 8 * 7 * 1 + 9 * 9", 17, 5),
    ("7 * 7 * 7 * 7 * 7 + 7", 14, 14),
]


@pytest.fixture(scope="module")
def splits():
    return {split: micro.load(split) for split in ("test", "train")}


@pytest.mark.parametrize(("expression", "gold", "left_to_right"), BY_HAND)
def test_both_rules_agree_with_values_worked_out_by_hand(expression, gold, left_to_right):
    assert micro.result(expression, "multiplication_first") == gold
    assert micro.result(expression, "left_to_right") == left_to_right


def test_every_answer_is_what_python_makes_of_the_expression(splits):
    for problem in splits["test"] + splits["train"]:
        expression = micro.expression_of(problem.question)
        assert problem.question == f"Compute {expression} modulo 100."
        assert problem.answer == str(eval(expression) % 100), expression
        assert problem.level == len(expression.split()) // 2


def test_from_level_2_on_left_to_right_is_never_right(splits):
    for problem in splits["test"] + splits["train"]:
        wrong = micro.result(micro.expression_of(problem.question), "left_to_right")
        assert (problem.answer == str(wrong)) == (problem.level == 1)


def test_numbers_of_problems_by_level(splits):
    counts = {split: Counter(problem.level for problem in problems) for split, problems in splits.items()}
    assert counts == {
        "test": {1: 24, 2: 40, 3: 40, 4: 40, 5: 40},
        "train": {1: 55, 2: 216, 3: 400, 4: 400, 5: 400},
    }
    assert [problem.level for problem in splits["test"][:7]] == [1, 2, 3, 4, 5, 1, 2]


def test_no_expression_is_in_two_parts(splits):
    expressions = {
        split: {micro.expression_of(problem.question) for problem in problems} for split, problems in splits.items()
    }
    for level in micro.LEVELS:
        drawn = micro.draw(level, "pretrain", random.Random(1))
        expressions.setdefault("pretrain", set()).update(next(drawn) for _ in range(2000))
    for first, second in pairwise(["test", "train", "pretrain", "test"]):
        assert not expressions[first] & expressions[second]
    for name, members in expressions.items():
        assert {micro.part(expression) for expression in members} == {name}


def test_ids_are_unique_and_say_nothing_of_the_place(splits):
    ids = [problem.problem_id for problem in splits["test"] + splits["train"]]
    assert len(set(ids)) == len(ids)
    assert all(problem_id.startswith("micro-") and len(problem_id) == 18 for problem_id in ids)


def test_the_problems_never_change(splits):
    # whoever changes these numbers makes another benchmark: runs on the two do not compare
    assert splits["test"][0].problem_id == "micro-fb6d9e2bcd24"
    assert splits["train"][0].problem_id == "micro-79d3f3345564"
    assert digest(splits["test"])[:12] == "180b9b935e74"
    assert digest(splits["train"])[:12] == "770252fa9ca6"


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_problems_do_not_depend_on_the_hash_seed_and_need_no_torch(hash_seed, splits):
    code = (
        "import sys; from expo_bench.problems import micro; from expo_bench.problems.identity import digest; "
        "print(digest(micro.load('test')), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digest(splits["test"]), "False"]


def test_expert_chains_are_right_at_every_step_and_end_in_the_gold(splits):
    operators = {"times": "*", "plus": "+"}
    for problem in splits["test"]:
        assert problem.solution.startswith("Modulo 100: ")
        assert problem.solution.endswith(f"; therefore \\boxed{{{problem.answer}}}")
        steps = problem.solution.removeprefix("Modulo 100: ").split("; ")[:-1]
        assert len(steps) == problem.level
        for step in steps:
            left, word, right, gives, value = step.split()
            assert gives == "gives"
            assert eval(f"{left} {operators[word]} {right}") % 100 == int(value)


def test_an_expert_chain():
    entry = micro._entry("3 + 4 * 2")
    assert entry.solution == "Modulo 100: 4 times 2 gives 8; 3 plus 8 gives 11; therefore \\boxed{11}"
    assert entry.subject == "1 multiplication"


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match="micro has no split 'dev'; choose test or train"):
        micro.load("dev")
