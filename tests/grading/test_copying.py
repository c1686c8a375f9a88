import pytest

from expo_bench.grading.copying import is_copied


@pytest.mark.parametrize(
    ("problem", "gold", "answer", "copied"),
    [
        (r"Compute $3+4\cdot 5$.", "23", r"3 + 4 \times 5", True),
        (r"Solve $\left(x^2-1\right)<0$.", "(-1,1)", "(x^2-1) < 0", True),
        ("If $x^2 = 2+7$, what is it?", "9", "2+7", True),
        ("Simplify 12/20 as far as you can.", r"\frac35", r"\frac{12}{20}", True),
        (r"Compute \[\binom{8}{4}.\]", "70", r"\dbinom{8}{4}", True),
        (r"Compute $3+4$.", "7", "x = 3+4", True),
        # the gold answer's own text, a part of a formula, something else
        ("If $x=5$, what is $x$?", "5", "5", False),
        (r"Is it $\frac12$ or 3?", "1/2", r"\frac{1}{2}", False),
        ("Expand $(x+1)^2$ for $y$.", "1+x", "x+1", False),
        ("Take 125 apples.", "25.0", "25", False),
        ("Which way (north, south, east or west) does she face?", r"\text{east}", "east", False),
        ("Does Evelyn or Carla run faster?", r"\text{Evelyn}", r"\textbf{Evelyn}", False),
        (r"Compute $3+4$.", "7", "4+3", False),
        ("", "7", "4+3", False),
    ],
)
def test_is_copied(problem: str, gold: str, answer: str, copied: bool) -> None:
    assert is_copied(problem, gold, answer) is copied


def test_is_linear() -> None:
    assert not is_copied("$" * 100_000 + "1+" * 100_000, "7", "1+" * 400 + "6")
