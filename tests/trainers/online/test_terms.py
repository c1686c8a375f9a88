import pytest

from expo_bench.rows import Rollout
from expo_bench.trainers.data import order
from expo_bench.trainers.ledger import ZeroReward, generated_tokens, zero_reward
from expo_bench.trainers.methods.chains import Chain, Group
from expo_bench.trainers.methods.terms import passes, share_weights


def positive(source="self_explanation", finish="stop", reward=1.0, leaks=False, role="beside"):
    return Chain(
        source=source, group=0, index=0, role=role, sample_index=0, prompt_ids=[1], token_ids=(2, 3), text="x",
        finish_reason=finish, reward=reward, leaks_answer=leaks,
    )  # fmt: skip


PASSES = [
    # chain, filter, passes
    (positive(), (), True),
    (positive(reward=0.0), (), True),
    (positive(finish="length"), (), False),
    (positive(reward=0.0), ("reaches_answer",), False),
    (positive(reward=None), ("reaches_answer",), False),
    (positive(leaks=True), ("reaches_answer",), True),
    (positive(leaks=True), ("no_leak",), False),
    (positive(reward=0.0), ("no_leak",), True),
    (positive(reward=1.0, leaks=True), ("reaches_answer", "no_leak"), False),
    (positive(source="expert", finish=None, reward=0.0), (), True),
    (positive(source="expert", finish="length"), (), False),
]


@pytest.mark.parametrize(("one", "chosen", "expected"), PASSES)
def test_filters(one, chosen, expected):
    assert passes(one, chosen) is expected


SHARES = [
    # rewards of the chains, whether a member is right, scope, weights
    ((1.0, 1.0), False, "all", [0.5, 0.5]),
    ((1.0, 0.0), False, "all", [1.0, 0.0]),
    ((0.0,), False, "all", [0.0]),
    ((1.0,), True, "all", [1.0]),
    ((1.0,), True, "no_positive", [0.0]),
    ((1.0,), False, "no_positive", [1.0]),
]


@pytest.mark.parametrize(("rewards", "right", "scope", "expected"), SHARES)
def test_weights_are_shared_within_a_group(rewards, right, scope, expected):
    member = positive(source="own", reward=float(right), role="member")
    group = Group(place=0, index=0, problem=None, chains=[member])
    chains = [positive(reward=one) for one in rewards]
    share_weights(group, chains, ("reaches_answer",), scope)
    assert [one.weight for one in chains] == expected
    assert group.beside == chains and group.members == [member]


def test_order_is_epochs_of_permutations_and_a_longer_run_begins_the_same():
    places = order(5, 13, seed=3)
    assert sorted(places[:5]) == sorted(places[5:10]) == list(range(5))
    assert places[:5] != places[5:10]
    assert order(5, 7, seed=3) == places[:7]
    assert order(5, 13, seed=4) != places


def rollout(step, group, reward, source="own", level=5, n_tokens=10):
    return Rollout(
        step=step, group=group, problem_id=f"p{group}", level=level, source=source, sample_index=0, text="",
        n_tokens=n_tokens, finish_reason="stop", sum_logprob=None, status="graded", reward=reward, advantage=None,
        weight=None, leaks_answer=None,
    )  # fmt: skip


def test_zero_reward_ledger():
    rows = [
        rollout(0, 0, 0.0), rollout(0, 0, 0.0),
        rollout(0, 1, 1.0), rollout(0, 1, 1.0),
        rollout(0, 2, 0.0), rollout(0, 2, 1.0),
        rollout(0, 3, None), rollout(0, 3, 0.0),
        rollout(0, 4, 0.0, level=1), rollout(0, 4, 1.0, source="self_explanation"),
        rollout(1, 0, 0.0),
    ]  # fmt: skip
    assert zero_reward(rows) == [
        ZeroReward(step=0, level=1, groups=1, all_wrong=1.0, all_right=0.0),
        ZeroReward(step=0, level=5, groups=3, all_wrong=1 / 3, all_right=1 / 3),
        ZeroReward(step=1, level=5, groups=1, all_wrong=1.0, all_right=0.0),
    ]
    assert generated_tokens(rows) == {"own": 100, "self_explanation": 10}
