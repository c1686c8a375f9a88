"""Chosen problems and samples as a page shows them: shortened, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from expo_bench.reports.excerpts import ReadProblem, ReadRun, ReadSample
from expo_bench.reports.run_views import RunView
from expo_bench.reports.text import Excerpt, excerpt, short

SAMPLE_LIMIT, SAMPLE_TAIL = 4000, 2500
QUESTION_LIMIT, SOLUTION_LIMIT, ANSWER_LIMIT = 4000, 2500, 600
_VERDICTS = {
    "no_answer": "No answer",
    "truncated": "Truncated",
    "timeout": "Grading timed out",
    "error": "Engine error",
    "bad_gold": "Unreadable gold answer",
    "copied": "Copied from the problem",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleView:
    """A sample with its verdict."""

    outcome: str
    verdict: str
    extracted: str
    meta: str
    error: str
    text: Excerpt


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSamples:
    """What one run made of a problem."""

    letter: str
    label: str
    solved: str
    n: int
    samples: list[SampleView]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemView:
    """A problem with samples of each run."""

    benchmark: str
    level: str
    teaser: str
    where: str
    question: Excerpt
    answer: Excerpt
    solution: Excerpt | None
    runs: list[RunSamples]


def problem_views(drawn: Sequence[ReadProblem], runs: Sequence[RunView]) -> list[ProblemView]:
    """Return the problems in the words of the page."""
    return [_problem_view(read, runs) for read in drawn]


def _problem_view(read: ReadProblem, runs: Sequence[RunView]) -> ProblemView:
    problem = read.problem
    where = [problem.benchmark, None if problem.level is None else f"level {problem.level}", problem.subject]
    return ProblemView(
        benchmark=problem.benchmark,
        level="" if problem.level is None else str(problem.level),
        teaser=short(problem.question, 160),
        where=" · ".join(short(part, 80) for part in [*where, problem.problem_id] if part),
        question=excerpt(problem.question, QUESTION_LIMIT),
        answer=excerpt(problem.answer, ANSWER_LIMIT),
        solution=None if problem.solution is None else excerpt(problem.solution, SOLUTION_LIMIT),
        runs=[_run_samples(own, run) for own, run in zip(read.runs, runs, strict=True)],
    )


def _run_samples(own: ReadRun, run: RunView) -> RunSamples:
    solved = f"{own.n_correct} of {own.n} correct" if own.n else "not in this run"
    samples = [_sample_view(read) for read in own.samples]
    return RunSamples(letter=run.letter, label=run.label, solved=solved, n=own.n, samples=samples)


def _sample_view(read: ReadSample) -> SampleView:
    sample, grade = read.sample, read.grade
    details = [f"sample {sample.sample_index}"]
    if sample.n_tokens is not None:
        details.append(f"{sample.n_tokens:,} tokens")
    if sample.finish_reason == "length":
        details.append("ended at the length limit")
    if sample.sum_logprob is not None and sample.n_tokens:
        logprob = f"{sample.sum_logprob / sample.n_tokens:.2f}".replace("-", "−")
        details.append(f"log-probability {logprob} per token")
    return SampleView(
        outcome=read.outcome,
        verdict=_VERDICTS.get(grade.status, read.outcome.capitalize()),
        extracted="" if grade.extracted is None else short(grade.extracted, 120),
        meta=" · ".join(details),
        error="" if sample.error is None else short(sample.error, 400),
        text=excerpt(sample.text, SAMPLE_LIMIT, tail=SAMPLE_TAIL),
    )
