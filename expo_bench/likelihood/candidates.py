"""The stage from problems and samples to candidates: chains of thought that training could learn from.

It only reads what was drawn before, so that another rule for leaks or repetition never needs the model again.
docs/likelihood.md tells what the sources and the filters are.
"""

import json
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError, reason
from expo_bench.grading.judge import Attempt, Judge, Verdict
from expo_bench.likelihood.chains import is_repetitive, leaks_answer
from expo_bench.rows import SOURCES, Candidate, FinishReason, Problem, Sample, Source
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder

_BATCH = 64

Graded = tuple[Sample, str, bool | None]
"""A sample, its grade's status, and whether it is correct."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSamples:
    """Plain samples of the policy, with their grades."""

    run: RunFolder
    """The folder that holds them; it may be another run's."""
    grader: str
    n: int
    """Samples of each problem that are used, those of the smallest index."""
    policy: str
    """The model that drew them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """A text on its way to a candidate."""

    candidate_id: str
    source: Source
    text: str
    policy: str | None = None
    token_ids: tuple[int, ...] | None = None
    finish_reason: FinishReason | None = None


def candidates(
    run: RunFolder,
    problems: Sequence[Problem],
    *,
    sources: Collection[str],
    policy: str,
    own: OwnSamples | None = None,
    imported: Path | None = None,
    judge: Judge | None = None,
) -> Counter[str]:
    """Write the candidates that the run folder does not hold yet; return how many were left out, by source and reason.

    Args:
        run: appended to; the caller holds its lock. Its self-explanations must have been drawn.
        problems: those of the run.
        sources: some of expert, self_explanation, own, rationalised, imported.
        policy: the model that wrote the self-explanations.
        own: the policy's plain samples; needed for own and rationalised.
        imported: JSON lines with "text" and "problem_id" or "question", and "policy" if one likes.
        judge: stays open; by default one is opened.

    Raises:
        UserError: own samples that have no grade, or a bad line among the imported ones.
    """
    left_out: Counter[str] = Counter()
    samples = _own_samples(own, problems) if own else {}
    done = {(row.problem_id, row.candidate_id) for row in run.candidates()}
    chains = list(_chains(run, problems, sources, policy, own, samples, left_out))
    if imported:
        chains += _read_imported(imported, problems, left_out)
    with Judge() if judge is None else nullcontext(judge) as judge, Appender(run.candidates_path) as written:
        batch: list[Candidate] = []
        for row in _judged(chains, judge):
            kept = [row] if row.source != "self_explanation" or "self_explanation" in sources else []
            if "rationalised" in sources and row.source == "self_explanation":
                kept += _rationalised(row, samples.get(row.problem_id, []), left_out)
            batch += [one for one in kept if (one.problem_id, one.candidate_id) not in done]
            if len(batch) >= _BATCH:
                written.append(batch)
                batch.clear()
        written.append(batch)
    return left_out


def filters(rows: Iterable[Candidate]) -> dict[Source, dict[str, int]]:
    """Count for each source the candidates and how many pass or fail which filter."""
    found: dict[Source, Counter[str]] = {}
    for row in rows:
        counts = found.setdefault(row.source, Counter())
        counts["candidates"] += 1
        counts["reaches_answer"] += row.reaches_answer is True
        counts["leaks_answer"] += row.leaks_answer is True
        counts["repetitive"] += row.repetitive
        counts["truncated"] += row.truncated
    return {source: dict(found[source]) for source in SOURCES if source in found}


def _chains(
    run: RunFolder,
    problems: Sequence[Problem],
    sources: Collection[str],
    policy: str,
    own: OwnSamples | None,
    samples: Mapping[str, Sequence[Graded]],
    left_out: Counter[str],
) -> Iterator[tuple[Problem, _Chain]]:
    explanations = _by_problem(run.explanations())
    for problem in problems:
        if not problem.answer:
            left_out["all: the problem has no gold answer"] += 1
            continue
        if "expert" in sources and problem.solution:
            yield problem, _Chain(candidate_id="expert-0", source="expert", text=problem.solution)
        elif "expert" in sources:
            left_out["expert: the benchmark has no solution"] += 1
        if own and "own" in sources:
            for sample, status, correct in samples.get(problem.problem_id, []):
                if status in ("timeout", "error", "bad_gold"):
                    left_out[f"own: {status}"] += 1
                else:
                    yield problem, _of_sample(sample, "own_correct" if correct else "own_incorrect", own.policy)
        for row in explanations.get(problem.problem_id, []):
            if row.finish_reason == "error":
                left_out["self_explanation: error"] += 1
            else:
                yield problem, _of_sample(row, "self_explanation", policy)


def _of_sample(sample: Sample, source: Source, policy: str) -> _Chain:
    kind = "own" if source.startswith("own") else source
    return _Chain(
        candidate_id=f"{kind}-{sample.sample_index}",
        source=source,
        text=sample.text,
        policy=policy,
        token_ids=sample.token_ids,
        finish_reason=sample.finish_reason,
    )


def _rationalised(explanation: Candidate, own: Sequence[Graded], left_out: Counter[str]) -> list[Candidate]:
    """Return the explanation as STaR would take it: every plain sample failed, and it reaches the answer."""
    if not own or any(correct for _, _, correct in own):
        left_out["rationalised: a plain sample is correct" if own else "rationalised: no plain sample"] += 1
        return []
    if not explanation.reaches_answer:
        left_out["rationalised: does not reach the answer"] += 1
        return []
    name = explanation.candidate_id.replace("self_explanation", "rationalised")
    return [replace(explanation, candidate_id=name, source="rationalised")]


def _judged(chains: Iterable[tuple[Problem, _Chain]], judge: Judge) -> Iterator[Candidate]:
    waiting: deque[tuple[Problem, _Chain]] = deque()

    def attempts() -> Iterator[Attempt]:
        for problem, chain in chains:
            waiting.append((problem, chain))
            cut = chain.finish_reason == "length"
            yield Attempt(gold=problem.answer, problem=problem.question, text=chain.text, truncated=cut)

    for verdict in judge.judge_many(attempts()):
        yield _candidate(*waiting.popleft(), verdict)


def _candidate(problem: Problem, chain: _Chain, verdict: Verdict) -> Candidate:
    answerless = verdict.status in ("no_answer", "truncated", "copied")
    return Candidate(
        problem_id=problem.problem_id,
        candidate_id=chain.candidate_id,
        source=chain.source,
        text=chain.text,
        token_ids=chain.token_ids,
        finish_reason=chain.finish_reason,
        reaches_answer=False if answerless and problem.answer else verdict.correct,
        leaks_answer=leaks_answer(chain.text, question=problem.question, gold=problem.answer),
        repetitive=is_repetitive(chain.text),
        truncated=chain.finish_reason == "length",
        policy=chain.policy,
    )


def _by_problem(rows: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for row in rows:
        found.setdefault(row.problem_id, []).append(row)
    return {key: sorted(listed, key=lambda row: row.sample_index) for key, listed in found.items()}


def _own_samples(own: OwnSamples, problems: Sequence[Problem]) -> dict[str, list[Graded]]:
    """Return for each problem its samples, each with the grade's status and whether it is correct."""
    verdicts = {(row.problem_id, row.sample_index): (row.status, row.correct) for row in own.run.grades(own.grader)}
    wanted = {problem.problem_id for problem in problems}
    rows = _by_problem(row for row in own.run.samples() if row.problem_id in wanted and row.sample_index < own.n)
    if ungraded := [
        row for listed in rows.values() for row in listed if (row.problem_id, row.sample_index) not in verdicts
    ]:
        raise UserError(
            f"{own.run.path}: {len(ungraded)} samples have no grade by {own.grader}; expo-bench grade it first"
        )
    if not rows:
        raise UserError(f"{own.run.path} has no samples of these problems")
    return {key: [(row, *verdicts[row.problem_id, row.sample_index]) for row in listed] for key, listed in rows.items()}


def _read_imported(path: Path, problems: Sequence[Problem], left_out: Counter[str]) -> list[tuple[Problem, _Chain]]:
    by_id = {problem.problem_id: problem for problem in problems if problem.answer}
    by_question = {problem.question.strip(): problem.problem_id for problem in reversed(problems)}
    counts: Counter[str] = Counter()
    found: list[tuple[Problem, _Chain]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _imported_row(line, f"{path}:{number}")
        problem_id = row.get("problem_id", by_question.get(str(row.get("question", "")).strip()))
        if problem_id not in by_id:
            left_out["imported: not a problem of this run"] += 1
            continue
        name = f"imported-{counts[problem_id]}"
        counts[problem_id] += 1
        chain = _Chain(candidate_id=name, source="imported", text=row["text"], policy=row.get("policy"))
        found.append((by_id[problem_id], chain))
    return found


def _imported_row(line: str, place: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not JSON ({error})") from error
    keyed = isinstance(row, dict) and isinstance(row.get("problem_id", row.get("question")), str)
    if not keyed or not isinstance(row.get("text"), str) or not row["text"].strip():
        raise UserError(f'{place}: an object with "text" and "problem_id" or "question" is wanted, all of them texts')
    if not isinstance(row.get("policy"), str | None):
        raise UserError(f'{place}: "policy" is the name of the model that wrote the text')
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in row["text"]):
        raise UserError(f"{place}: the text holds half a surrogate pair, which cannot be stored")
    return row
