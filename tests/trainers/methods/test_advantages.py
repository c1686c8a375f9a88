"""Advantages of the methods that change nothing else: golden values, by hand."""

import pytest

from expo_bench.rows import Problem
from expo_bench.trainers.methods.chains import Chain, Group
from expo_bench.trainers.methods.finding import find_method

GOLDEN = [
    # method, settings, right of 8, advantage of a right one and of a wrong one
    ("maxrl", {}, 1, 7, -1),
    ("maxrl", {}, 2, 3, -1),
    ("maxrl", {}, 4, 1, -1),
    ("maxrl", {}, 6, 1 / 3, -1),
    ("maxrl", {}, 8, 0, None),
    ("maxrl", {}, 0, None, 0),
    ("pass_at_k", {"k": 4}, 1, 1, -0.143),
    ("pass_at_k", {"k": 4}, 2, 0.522, -0.174),
    ("pass_at_k", {"k": 4}, 4, 0.120, -0.120),
    ("pass_at_k", {"k": 4}, 6, 0, 0),
    ("pass_at_k", {"k": 4}, 0, None, 0),
    ("pkpo", {"k": 4}, 1, 1, -0.143),
    ("pkpo", {"k": 4}, 2, 0.490, -0.163),
    ("pkpo", {"k": 4}, 4, 0.065, -0.065),
    ("pkpo", {"k": 4}, 6, 0, 0),
    ("luffy", {}, 1, 0.875, -0.125),
]


def made(name, settings, tools=None):
    kind = find_method(name)
    return kind(kind.Settings(**settings), tools)


@pytest.mark.parametrize(("name", "settings", "right", "of_right", "of_wrong"), GOLDEN)
def test_golden_advantages(name, settings, right, of_right, of_wrong):
    found = made(name, settings).advantages([1.0] * right + [0.0] * (8 - right))
    if of_right is not None:
        assert found[0] == pytest.approx(of_right, abs=1e-3)
    if of_wrong is not None:
        assert found[-1] == pytest.approx(of_wrong, abs=1e-3)


@pytest.mark.parametrize("name", ["maxrl", "pass_at_k", "pkpo", "unlikeliness", "luffy"])
def test_a_reward_that_nobody_can_tell_has_no_advantage_and_changes_none(name):
    method = made(name, {"k": 2} if name in ("pass_at_k", "pkpo") else {})
    found = method.advantages([1.0, None, 0.0, 0.0])
    assert found[1] == 0
    assert [found[0], *found[2:]] == pytest.approx(method.advantages([1.0, 0.0, 0.0]))
    assert found[0] > 0 > found[2]
    assert method.advantages([None, None]) == [0, 0]


def group(*members, n_tokens=10):
    """A group of chains with these rewards and mean log-probabilities of a token."""
    chains = [
        Chain(
            source="own", group=0, index=0, sample_index=at, prompt_ids=[1], token_ids=(2,) * n_tokens, text="",
            finish_reason="stop", role="member", reward=reward, sum_logprob=mean * n_tokens,
        )
        for at, (reward, mean) in enumerate(members)
    ]  # fmt: skip
    problem = Problem(problem_id="p", benchmark="b", split="train", question="q", answer="1")
    return Group(place=0, index=0, problem=problem, chains=chains)


def test_unlikely_right_completions_count_more():
    method = made("unlikeliness", {})
    wrong = [(0.0, -0.3 - 0.1 * at) for at in range(6)]
    rewards = method.rewards(group((1.0, -0.2), (1.0, -0.9), *wrong))
    assert rewards[:2] == pytest.approx([0.78125, 1.0])
    assert method.advantages(rewards)[:3] == pytest.approx([1.341, 1.867, -0.535], abs=1e-3)


class Tools:
    max_tokens = 100


LENGTHS = [(80, 0.0), (81, 0.05), (90, 0.5), (100, 1.0)]


@pytest.mark.parametrize(("n_tokens", "cost"), LENGTHS)
def test_dapo_makes_length_cost(n_tokens, cost):
    method = made("dapo", {}, Tools())
    assert method.rewards(group((1.0, 0), (0.0, 0), n_tokens=n_tokens)) == pytest.approx([1 - cost, -cost])


@pytest.mark.parametrize(
    ("rewards", "alike"), [((1, 1), True), ((0, 0), True), ((1, 0), False), ((None, 1), True), ((None, None), True)]
)
def test_groups_without_a_difference(rewards, alike):
    one = group(*((reward, 0) for reward in rewards))
    assert made("dapo", {}, Tools()).replaces(one) is alike
    assert made("grpo_masked", {}, Tools()).counts(one) is not alike
