"""Questions with a hint or the beginning of a solution, and the prompts by which the policy writes hints."""

from dataclasses import replace

from expo_bench.rows import Problem
from expo_bench.trainers.methods.base import Tools
from expo_bench.trainers.methods.chains import Draw, Group

ABSTRACT = (
    "{question}\n\nThe correct final answer is {answer}. Do not solve the problem and do not tell the answer: write in "
    "one or two sentences a general hint, the idea or the fact that somebody would need who does not find it."
)
GRADED = (
    "{question}\n\nThe correct final answer is {answer}. Write a hint for somebody who does not find it, without ever "
    "telling the answer. "
)
LEVELS = (
    "Name only the idea that helps, in one sentence.",
    "Tell the idea and the first step, in two or three sentences.",
    "Tell the main steps in their order, without the results of the calculations.",
)


def hinted(problem: Problem, hint: str) -> Problem:
    """Return the problem with a hint behind its question."""
    return replace(problem, question=f"{problem.question}\n\nA hint that may help: {hint.strip()}")


def begun(problem: Problem, share: float) -> Problem | None:
    """Return the problem with the first characters of its solution behind the question; None where it has none."""
    if not problem.solution:
        return None
    start = problem.solution[: int(share * len(problem.solution))]
    return replace(problem, question=f"{problem.question}\n\nA correct solution begins like this:\n{start}")


def shown(problem: Problem) -> Problem:
    """Return the problem with its whole solution behind the question, where it has one."""
    if not problem.solution:
        return problem
    return replace(problem, question=f"{problem.question}\n\nA correct solution:\n{problem.solution}")


def hint_draw(tools: Tools, problem: Problem, user: str) -> Draw:
    """Return one hint, written by the policy of the step."""
    ids = tools.ids(problem, user)
    return Draw(source="hint", prompt_ids=ids, n=1, purpose="hint", drawn_under="hint", judged=False)


def under(tools: Tools, group: Group, problem: Problem, n: int, *, kept: bool, name: str) -> Draw:
    """Return n completions of the question with something behind it.

    Args:
        tools: render prompts.
        group: whose they are.
        problem: with what was put behind its question.
        n: how many.
        kept: whether they are learned under the same prompt; else under the question alone.
        name: of the prompt, for the record.
    """
    return Draw(
        source="hinted",
        prompt_ids=tools.solve_ids(problem),
        n=n,
        purpose="hinted",
        learned_ids=None if kept else tools.solve_ids(group.problem),
        drawn_under=name,
        learned_under=name if kept else "solve",
    )


def is_unsolved(group: Group) -> bool:
    """Tell whether none of the own completions is right."""
    return not any(chain.is_right for chain in group.of("own"))
