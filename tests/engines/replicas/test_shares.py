"""Who is given which problems."""

from collections import deque

import pytest

from expo_bench.engines.base import Continuation, Request, ScoreRequest
from expo_bench.engines.replicas.shares import Work, next_share, remaining, undone


def work(name: str, n: int = 4, losses: int = 0) -> Work:
    request = Request(problem_id=name, messages=(), sample_indexes=tuple(range(n)), seeds=tuple(range(100, 100 + n)))
    return Work(request, {(name, index) for index in range(n)}, losses)


@pytest.mark.parametrize(
    ("losses", "least", "n", "sizes"),
    [
        # half of each replica's part of what is left: a quarter of 40, 32, 24, 20... in whole problems of 4 samples
        ([0] * 10, 1, 2, [2, 2, 1, 1, 1, 1, 1, 1]),
        ([0] * 10, 20, 2, [5, 5]),
        ([0] * 10, 256, 2, [10]),
        ([0] * 3, 1, 8, [1, 1, 1]),
        # what was lost twice goes alone, what was lost once does not
        ([2, 2, 1, 0, 0], 256, 2, [1, 1, 3]),
        ([0, 2, 0], 256, 2, [1, 1, 1]),
    ],
)
def test_shares_become_smaller(losses: list[int], least: int, n: int, sizes: list[int]) -> None:
    waiting = deque(work(str(number), losses=lost) for number, lost in enumerate(losses))
    shares = []
    while waiting:
        shares.append(next_share(waiting, least, n))
    assert [len(share) for share in shares] == sizes
    assert [one.request.problem_id for share in shares for one in share] == [
        str(number) for number in range(len(losses))
    ]


def test_what_is_there_is_not_asked_for_again() -> None:
    begun = work("a")
    begun.left -= {("a", 0), ("a", 2)}
    again = remaining(begun)
    assert isinstance(again, Request)
    assert (again.sample_indexes, again.seeds) == ((1, 3), (101, 103))
    parts = tuple(Continuation(key=key, token_ids=(1,)) for key in "xyz")
    scored = Work(ScoreRequest(problem_id="a", messages=(), continuations=parts), {("a", "y")})
    left = remaining(scored)
    assert isinstance(left, ScoreRequest)
    assert [one.key for one in left.continuations] == ["y"]


def test_a_lost_share_comes_back_without_what_was_finished() -> None:
    whole, finished = work("a"), work("b")
    finished.left.clear()
    assert undone([whole, finished]) == [whole]
    assert (whole.losses, finished.losses) == (1, 0)
