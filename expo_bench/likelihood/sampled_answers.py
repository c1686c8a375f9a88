r"""The stage from candidates to sampled answers: from a chain and the slot's opening a few short answers are drawn and
graded, and as many without the chain.

It is answer lift by its definition, with no sum over tokens, and answers that are equivalent to the gold answer count.
docs/likelihood.md says what the two measures tell together.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from expo_bench.engines.base import Completion, Generator, Request, SamplingParams
from expo_bench.evaluation.drawing import seed_from
from expo_bench.grading.judge import Attempt, Judge, Verdict
from expo_bench.likelihood.answer_slots import OPENING, answer_slot
from expo_bench.prompts import Prompt
from expo_bench.rows import Candidate, Likelihood, Problem, SlotAnswers
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder

MAX_TOKENS = 32
"""Of an answer; the longest gold answers of MATH are longer, and then count as wrong with and without the chain."""
_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """What answers are drawn from: a chain, or none."""

    problem: Problem
    candidate_id: str | None
    before: str


def missing_answers(run: RunFolder, policy: str, n: int) -> list[tuple[Problem, Candidate | None, str]]:
    """Return the slots that have fewer than n answers: problem, candidate (None without a chain), text before it."""
    done = {(row.problem_id, row.candidate_id, row.before) for row in run.slot_answers(policy) if row.n >= n}
    problems = {problem.problem_id: problem for problem in run.problems()}
    found: dict[tuple[str, str | None, str], tuple[Problem, Candidate | None, str]] = {}
    for one in run.candidates():
        problem, slot = problems[one.problem_id], answer_slot(one.text, truncated=one.truncated)
        # the text before the slot is the key where there is no chain, and too long to be one where there is
        for key, entry in (
            ((one.problem_id, None, slot.bare), (problem, None, slot.bare)),
            ((one.problem_id, one.candidate_id, ""), (problem, one, slot.before)),
        ):
            if key not in done:
                found[key] = entry
    return list(found.values())


def sample_answers(
    run: RunFolder,
    engine: Generator,
    *,
    policy: str,
    prompt: Prompt,
    n: int,
    seed: int,
    judge: Judge,
    on_row: Callable[[SlotAnswers], None] | None = None,
) -> None:
    """Draw and grade n answers in each slot that has fewer.

    Args:
        run: appended to; the caller holds its lock.
        engine: the policy.
        policy: its name in the rows.
        prompt: the solve prompt, which does not show the answer.
        n: answers a slot.
        seed: the run's.
        judge: stays open.
        on_row: called for each new row, after it is written.
    """
    slots = [
        _Slot(problem=problem, candidate_id=one.candidate_id if one else None, before=before)
        for problem, one, before in missing_answers(run, policy, n)
    ]
    per_chunk = max(1, _CHUNK // n)
    with Appender(run.slot_answers_path(policy)) as written:
        for first in range(0, len(slots), per_chunk):
            rows = _answered(slots[first : first + per_chunk], engine, policy, prompt, n, seed, judge)
            written.append(rows)
            if on_row:
                for row in rows:
                    on_row(row)


def _answered(
    slots: Sequence[_Slot], engine: Generator, policy: str, prompt: Prompt, n: int, seed: int, judge: Judge
) -> list[SlotAnswers]:
    params = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=MAX_TOKENS, stop=("\n\n",))
    requests = [
        Request(
            problem_id=str(number),
            messages=prompt.messages(slot.problem),
            chat=prompt.chat,
            prefix=slot.before + OPENING,
            sample_indexes=tuple(range(n)),
            seeds=tuple(
                seed_from(seed, slot.problem.problem_id, "answer", slot.candidate_id or "", slot.before, index)
                for index in range(n)
            ),
        )
        for number, slot in enumerate(slots)
    ]
    drawn: dict[int, list[Completion]] = {number: [] for number in range(len(slots))}
    for done in engine.generate(requests, params):
        drawn[int(done.problem_id)].append(done)
    verdicts = judge.judge_many(_attempts(slots, drawn))
    return [_row(slot, drawn[number], verdicts, policy) for number, slot in enumerate(slots)]


def _attempts(slots: Sequence[_Slot], drawn: Mapping[int, Sequence[Completion]]) -> Iterator[Attempt]:
    for number, slot in enumerate(slots):
        for one in drawn[number]:
            answer = closed(one.text)
            if answer is not None:
                yield Attempt(gold=slot.problem.answer, text=f"{OPENING}{answer}}}")


def _row(slot: _Slot, drawn: Sequence[Completion], verdicts: Iterator[Verdict], policy: str) -> SlotAnswers:
    told = [one for one in drawn if one.finish_reason != "error"]
    n_closed = sum(closed(one.text) is not None for one in drawn)
    correct = [next(verdicts).correct for _ in range(n_closed)]
    return SlotAnswers(
        problem_id=slot.problem.problem_id,
        candidate_id=slot.candidate_id,
        before="" if slot.candidate_id else slot.before,
        policy=policy,
        n=len(told),
        n_correct=sum(one is True for one in correct),
        n_open=len(told) - n_closed,
    )


def closed(text: str) -> str | None:
    """Return what stands before the brace that closes the slot, None where it is not closed."""
    depth = 1
    escaped = False
    for place, letter in enumerate(text):
        if letter in "{}" and not escaped:
            depth += 1 if letter == "{" else -1
            if depth == 0:
                return text[:place]
        escaped = letter == "\\" and not escaped
    return None


def sampled_rates(run: RunFolder, policy: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Return for each candidate the share of right answers drawn in its slot, and in the same slot without a chain."""
    # a slot whose answers were drawn again counts by the last draw
    rates = {
        (row.problem_id, row.candidate_id, row.before): row.n_correct / row.n
        for row in run.slot_answers(policy)
        if row.n
    }
    found = {}
    for one in run.candidates() if rates else ():
        bare = answer_slot(one.text, truncated=one.truncated).bare
        pair = rates.get((one.problem_id, one.candidate_id, "")), rates.get((one.problem_id, None, bare))
        if pair[0] is not None and pair[1] is not None:
            found[one.problem_id, one.candidate_id] = pair[0], pair[1]
    return found


def compared(row: Likelihood, rates: tuple[float, float]) -> dict[str, float]:
    """Return sampled lift, what the slot's log-probabilities say of it, and how far they are apart; probabilities."""
    within, without = rates
    slot_within, slot_without = math.exp(row.answer_logprob_with), math.exp(row.answer_logprob_without)
    return {
        "sampled_with": within,
        "sampled_without": without,
        "sampled_lift": within - without,
        "slot_lift": slot_within - slot_without,
        "lift_disagreement": within - without - (slot_within - slot_without),
    }
