from typing import Any

import pytest

from expo_bench.errors import UserError
from expo_bench.problems import select
from expo_bench.rows import Problem


def problem(number: int, level: int | None, subject: str | None, *domain: str) -> Problem:
    return Problem(
        problem_id=f"b-{number}",
        benchmark="b",
        split="test",
        question=str(number),
        answer="1",
        level=level,
        subject=subject,
        domain=domain,
    )


PROBLEMS = [
    problem(0, 1, "Algebra"),
    problem(1, 2, "Algebra", "Algebra", "Number Theory"),
    problem(2, 3, "Geometry", "Geometry"),
    problem(3, None, None),
    problem(4, 3, "Number Theory"),
]


def numbers(**choice: Any) -> list[int]:
    return [int(chosen.question) for chosen in select(PROBLEMS, **choice)]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"levels": [3]}, [2, 4]),
        ({"levels": {1, 3}}, [0, 2, 4]),
        ({"subjects": ["Algebra"]}, [0, 1]),
        ({"subjects": ["number theory "]}, [1, 4]),
        ({"subjects": ["GEOMETRY", "Number Theory"], "levels": [3]}, [2, 4]),
        ({"limit": 2}, [0, 1]),
        ({"limit": 99}, [0, 1, 2, 3, 4]),
        ({"levels": [3], "limit": 1}, [2]),
        ({"per_level": 1}, [0, 1, 2, 3]),
        ({"per_level": 1, "limit": 3}, [0, 1, 2]),
        ({"per_level": 2}, [0, 1, 2, 3, 4]),
    ],
)
def test_choice(choice: dict[str, Any], expected: list[int]) -> None:
    assert numbers(**choice) == expected


def test_shuffle_comes_before_the_limit_and_is_nested() -> None:
    whole = numbers(shuffle_seed=1)
    assert sorted(whole) == [0, 1, 2, 3, 4]
    assert [numbers(shuffle_seed=1, limit=limit) for limit in (1, 2, 3)] == [whole[:1], whole[:2], whole[:3]]
    assert len({tuple(numbers(shuffle_seed=seed)) for seed in range(20)}) > 10
    assert [chosen.question for chosen in select(PROBLEMS[::-1], shuffle_seed=1)] == list(map(str, whole))
    assert set(numbers(shuffle_seed=1, per_level=1)) < set(numbers(shuffle_seed=1, per_level=2))


def test_the_problems_given_stay_as_they_are() -> None:
    given = list(PROBLEMS)
    select(given, shuffle_seed=5, limit=1)
    assert given == PROBLEMS


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"levels": [3, 9, 7]}, "b has no level 7, 9; its levels: 1, 2, 3"),
        ({"subjects": ["Sums"]}, "b has no subject Sums; its subjects: Algebra, Geometry, Number Theory"),
        ({"levels": [1], "subjects": ["Geometry"]}, "no problem of b has these levels and subjects"),
        ({"levels": []}, "no problem of b"),
        ({"limit": 0}, "the limit is 0"),
    ],
)
def test_refusals(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        select(PROBLEMS, **choice)
    assert message in str(caught.value)


def test_no_levels_at_all() -> None:
    with pytest.raises(UserError, match="its levels: none"):
        select(PROBLEMS[3:4], levels=[1])
