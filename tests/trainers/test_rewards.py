import pytest

from expo_bench.grading.judge import Judge
from expo_bench.rows import Problem
from expo_bench.trainers.rewards import GoldAnswerReward, reward


@pytest.mark.parametrize(
    ("text", "truncated", "expected"),
    [
        (r"\boxed{12}", False, 1.0),
        (r"\boxed{12}", True, 1.0),
        (r"\boxed{12", False, 1.0),
        (r"\boxed{12", True, 0.0),  # 12 may have been on its way to 125
        ("The answer is 12", True, 0.0),
        (r"\boxed{3 \cdot 4}", False, 0.0),  # copied
        (r"\boxed{4 \cdot 3}", False, 1.0),
        ("nothing", False, 0.0),
    ],
)
def test_rewards_are_those_of_the_evaluation(text: str, truncated: bool, expected: float) -> None:
    problem = Problem(problem_id="toy-1", benchmark="toy", split="test", question=r"Compute $3 \cdot 4$.", answer="12")
    with Judge(workers=1, cpu_seconds=5.0, timeout_seconds=60.0) as judge:
        (verdict,) = GoldAnswerReward([problem], judge).judge([text], [0], [truncated])
    assert reward(verdict) == expected
