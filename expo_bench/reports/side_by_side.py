"""Chains for one problem side by side: what the base had to learn from, and what the trained policies write."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from expo_bench.grading.judge import GRADER
from expo_bench.reports.likelihood_views import SOURCE_WORDS, ChainsView, number, read_chains
from expo_bench.reports.text import Excerpt, excerpt, short
from expo_bench.rows import Grade, Problem, Sample, Source
from expo_bench.storage.run_folder import RunFolder

MOST_PROBLEMS, MOST_ARMS = 4, 6
_CHAIN_LIMIT, _CHAIN_TAIL = 1600, 700
_SOURCES: tuple[Source, ...] = ("own_incorrect", "self_explanation", "expert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One chain with where it comes from."""

    title: str
    about: str
    text: Excerpt


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """A problem with its chains."""

    where: str
    question: Excerpt
    answer: Excerpt
    chains: list[Chain]


def side_by_side(candidates: RunFolder, trained: Sequence[tuple[str, RunFolder]]) -> list[SideBySide]:
    """Return a few problems, each with the base's first candidate of each source and each policy's first sample.

    Problems are drawn by a hash of their ids among those with all sources that every policy was evaluated on; nothing
    of what became of them decides.

    Args:
        candidates: a run with scored candidates.
        trained: name and evaluation of each policy; the first six are shown.
    """
    [view] = read_chains([candidates])
    firsts = _first_candidates(view)
    samples = [(name, _first_samples(run)) for name, run in trained[:MOST_ARMS]]
    sources = [source for source in _SOURCES if source in view.sources]
    everywhere = [
        problem_id
        for problem_id in dict.fromkeys(problem_id for problem_id, _ in firsts)
        if all((problem_id, source) in firsts for source in sources) and all(problem_id in own for _, own in samples)
    ]
    everywhere.sort(key=lambda problem_id: hashlib.sha256(problem_id.encode()).digest())
    problems = {problem.problem_id: problem for problem in candidates.problems()}
    return [
        _view(
            problems[problem_id],
            [firsts[problem_id, source] for source in sources]
            + [_written(name, *own[problem_id]) for name, own in samples],
        )
        for problem_id in everywhere[:MOST_PROBLEMS]
    ]


def _first_candidates(view: ChainsView) -> dict[tuple[str, Source], Chain]:
    found: dict[tuple[str, Source], Chain] = {}
    for one in sorted(view.scored, key=lambda one: one.candidate.candidate_id, reverse=True):
        candidate = one.candidate
        reached = {True: "reaches the gold answer", False: "does not reach the gold answer", None: ""}
        likely = f"log p {number(one.likelihood.mean_logprob)} a token, answer lift {number(one.lift)}"
        about = [reached[candidate.reaches_answer], likely]
        found[one.problem.problem_id, candidate.source] = Chain(
            title=f"base: {SOURCE_WORDS[candidate.source]}" if candidate.policy else SOURCE_WORDS[candidate.source],
            about="; ".join(filter(None, about)),
            text=excerpt(candidate.text, _CHAIN_LIMIT, tail=_CHAIN_TAIL),
        )
    return found


def _first_samples(run: RunFolder) -> dict[str, tuple[Sample, Grade]]:
    grades = {grade.problem_id: grade for grade in run.grades(GRADER) if grade.sample_index == 0}
    return {
        sample.problem_id: (sample, grades[sample.problem_id])
        for sample in run.samples()
        if sample.sample_index == 0 and sample.problem_id in grades
    }


def _written(name: str, sample: Sample, grade: Grade) -> Chain:
    verdict = ("correct" if grade.correct else "wrong") if grade.status == "graded" else grade.status.replace("_", " ")
    return Chain(
        title=f"after {short(name, 60)}", about=verdict, text=excerpt(sample.text, _CHAIN_LIMIT, tail=_CHAIN_TAIL)
    )


def _view(problem: Problem, chains: list[Chain]) -> SideBySide:
    where = [problem.benchmark, None if problem.level is None else f"level {problem.level}", problem.problem_id]
    return SideBySide(
        where=" · ".join(short(part, 80) for part in where if part),
        question=excerpt(problem.question, _CHAIN_LIMIT),
        answer=excerpt(problem.answer, 300),
        chains=chains,
    )
