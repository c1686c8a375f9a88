"""What must be right before a run begins, and before a dry run calls it possible."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from expo_bench.errors import UserError, install
from expo_bench.problems import Loaded
from expo_bench.problems.base import Unavailable
from expo_bench.prompts import explain_prompt, solve_prompt
from expo_bench.trainers.data import training_problems
from expo_bench.trainers.methods.finding import find_method
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.rounds.imitating import check_thoughts

_PACKAGES = ("trl", "accelerate", "peft")


def check_packages() -> None:
    """See that the packages are there with which a policy is trained.

    Raises:
        UserError: one is not.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"training needs more packages ({', '.join(missing)}): {install('train')}")


def checked_problems(recipe: Recipe) -> Loaded:
    """Return the training problems of a recipe that could be run.

    Raises:
        UserError: it could not: a prompt, thoughts or problems that are not there or do not fit.
    """
    check_packages()
    solve_prompt(recipe.prompt), explain_prompt(recipe.explain_prompt)
    if recipe.still is not None:
        check_thoughts(recipe)
    loaded = training_problems(recipe)
    if find_method(recipe.method).needs_solutions(recipe) and not with_solution(loaded):
        raise UserError(
            f"{recipe.method} learns from solutions, and none of the {len(loaded.problems)} problems of "
            f"{recipe.benchmark} has one: give rows a field solution, or choose another method"
        )
    return loaded


def with_solution(loaded: Loaded) -> int:
    """Return how many of the problems have a solution."""
    return sum(bool(problem.solution) for problem in loaded.problems)


def is_elsewhere(error: UserError) -> bool:
    """Tell whether what is missing lies on the hub alone, which another machine may reach."""
    return isinstance(error.__cause__, Unavailable)


@contextmanager
def unless_elsewhere() -> Iterator[None]:
    """Let pass what only another machine may have: it does not stop a plan."""
    try:
        yield
    except UserError as error:
        if not is_elsewhere(error):
            raise
