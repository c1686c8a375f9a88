r"""The stage from candidates to likelihoods: how likely a policy that does not see the answer finds each chain, and how
much the chain raises the likelihood of the right answer. docs/likelihood.md defines every number.

A problem's prompt is given to the engine once, followed by all that is scored after it: the chains, the chains without
their own answer and then the slot `\boxed{gold}`, and the slot alone. Where the gold answer can be written in other
tokens that are likely enough, those are scored in further rounds.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expo_bench.engines.base import Continuation, Scored, Scorer, ScoreRequest
from expo_bench.errors import UserError
from expo_bench.likelihood.answer_slots import AnswerSlot, SlotScore, answer_slot
from expo_bench.prompts import Prompt
from expo_bench.rows import TOKEN_QUANTILES, Candidate, Likelihood, Problem
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.token_arrays import TokenArrays, drop_unclaimed, write_part

SAMPLED = "the ids that the policy sampled"
ENDED = "the text by itself, end-of-turn appended"
CUT_OFF = "the text by itself, cut off: no end-of-turn"

CHUNK_TOKENS = 32_768
"""What a fast engine scores before rows and token arrays are written; a part of Parquet has about as many tokens."""
_FIRST_TOKENS = 2048
_SECONDS = 20.0
_SLOT = "slot"
_TELLING_IDS = 8
_MOST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One problem and what is to be scored of it."""

    problem_id: str
    request: ScoreRequest
    """The prompt, and the chains."""
    rules: Mapping[str, str]
    """Candidate id -> boundary rule."""
    own: frozenset[str]
    """Candidate ids of the problem's own samples, those scored before included."""
    places: Mapping[str, AnswerSlot]
    """Candidate id -> its slot."""
    slots: Mapping[str, SlotScore]
    """By key: `slot/` and a candidate id, or `slot:` and what stands before it without a chain."""
    unwritable: Mapping[str, str]
    """Candidate id -> why its slot cannot be written in tokens."""

    def first(self) -> ScoreRequest:
        """Return all that is scored in the first round."""
        slots = [part for slot in self.slots.values() for part in slot.continuations()]
        return replace(self.request, continuations=(*self.request.continuations, *slots))

    def further(self) -> ScoreRequest | None:
        """Return what another round is to score, None where nothing is left."""
        slots = [part for slot in self.slots.values() if slot.go_on() for part in slot.continuations()]
        return replace(self.request, continuations=tuple(slots)) if slots else None

    def pair(self, name: str) -> tuple[SlotScore, SlotScore]:
        """Return a candidate's slot and the same without the chain."""
        return self.slots[f"{_SLOT}/{name}"], self.slots[f"{_SLOT}:{self.places[name].bare}"]


def missing_likelihoods(run: RunFolder, policy: str) -> list[Candidate]:
    """Return the candidates that are still to be scored: without a likelihood, and not listed as unscored."""
    done = {(row.problem_id, row.candidate_id) for row in run.likelihoods(policy)}
    done |= {(problem, name) for problem, reasons in run.unscored(policy).items() for name in reasons}
    return [row for row in run.candidates() if (row.problem_id, row.candidate_id) not in done]


def likelihoods(
    run: RunFolder,
    engine: Scorer,
    *,
    policy: str,
    prompt: Prompt,
    chunk_tokens: int = CHUNK_TOKENS,
    on_row: Callable[[Likelihood], None] | None = None,
) -> None:
    """Score the candidates that have no likelihood under the policy yet; rows and token arrays are on disk every while.

    Args:
        run: appended to; the caller holds its lock.
        engine: the policy.
        policy: its name in the rows.
        prompt: the solve prompt, which does not show the answer.
        chunk_tokens: scored between two writes at most; of a slow policy what it scores in some 20 seconds.
        on_row: called for each new row, after it is written.

    Raises:
        UserError: there are no candidates, or an earlier version scored some, whose answer lift was another number.

    A candidate that the engine cannot score gets no row; `RunFolder.unscored` tells it and the reason.
    """
    failures = run.unscored(policy)
    before: dict[str, dict[str, float]] = {}
    for row in run.likelihoods(policy):
        if row.answer_place is None:
            path = run.likelihoods_path(policy)
            raise UserError(
                f"{path} was scored by an earlier version, which measured the answer lift in another way; "
                f"delete it and the folder {path.with_suffix('').name} to score again"
            )
        before.setdefault(row.problem_id, {})[row.candidate_id] = row.mean_logprob
    skipped = {problem: {*before.get(problem, ()), *failures.get(problem, ())} for problem in {*before, *failures}}
    claimed = {(problem, name) for problem, means in before.items() for name in means}
    drop_unclaimed(run.likelihoods_folder(policy), claimed)
    with Appender(run.likelihoods_path(policy)) as written:
        for chunk in _chunks(_jobs(run, engine, policy, prompt, skipped), chunk_tokens):
            rows, arrays = [], []
            for job, scores in _scored(engine, chunk):
                if reasons := _failures(job, scores):
                    failures.setdefault(job.problem_id, {}).update(reasons)
                done = [name for name in job.rules if name not in reasons]
                rows += _rows(job, scores, done, before.get(job.problem_id, {}), policy)
                arrays += [_arrays(scores[name], name) for name in done]
            # the arrays first: a row says that its arrays are there
            if arrays:
                write_part(run.likelihoods_folder(policy), arrays)
            written.append(rows)
            if failures:
                run.write_unscored(policy, failures)
            if on_row:
                for row in rows:
                    on_row(row)


def _jobs(
    run: RunFolder, engine: Scorer, policy: str, prompt: Prompt, skipped: Mapping[str, set[str]]
) -> Iterator[_Job]:
    """Yield what is to be scored of each problem; `skipped` tells what is not: problem -> candidates."""
    by_problem: dict[str, list[Candidate]] = {}
    for candidate in run.candidates():
        by_problem.setdefault(candidate.problem_id, []).append(candidate)
    if not by_problem:
        raise UserError(f"{run.path} has no candidates; make them with expo-bench candidates")
    trusted = _trusted_policies([one for listed in by_problem.values() for one in listed], engine, policy)
    for problem in run.problems():
        listed = by_problem.get(problem.problem_id, [])
        wanted = [one for one in listed if one.candidate_id not in skipped.get(problem.problem_id, ())]
        if wanted:
            own = frozenset(one.candidate_id for one in listed if one.source in ("own_correct", "own_incorrect"))
            yield _job(problem, wanted, own, engine, prompt, trusted)


def _trusted_policies(candidates: Sequence[Candidate], engine: Scorer, policy: str) -> frozenset[str]:
    """Return the policies whose token ids are this engine's: the policy, and those that share its tokenizer.

    Two tokenizers are the same if they agree on some chain of 8 ids or more: different ones do not agree on so many.
    """
    trusted = {policy}
    for one in candidates:
        if one.policy is None or one.policy in trusted or one.token_ids is None or len(one.token_ids) < _TELLING_IDS:
            continue
        if one.finish_reason == "stop" and engine.tokenize(one.text) == one.token_ids:
            trusted.add(one.policy)
    return frozenset(trusted)


def _job(
    problem: Problem,
    wanted: Sequence[Candidate],
    own: frozenset[str],
    engine: Scorer,
    prompt: Prompt,
    trusted: frozenset[str],
) -> _Job:
    rules, places, chains, unwritable = {}, {}, [], {}
    slots: dict[str, SlotScore] = {}
    for one in wanted:
        name = one.candidate_id
        ids, rules[name] = _chain_ids(one, engine, trusted)
        chains.append(Continuation(key=name, token_ids=ids))
        places[name] = slot = answer_slot(one.text, truncated=one.truncated)
        sampled = ids if rules[name] == SAMPLED else None
        try:
            for key, before, given in (
                (f"{_SLOT}:{slot.bare}", slot.bare, None),
                (f"{_SLOT}/{name}", slot.before, sampled),
            ):
                if key not in slots:
                    slots[key] = SlotScore(key, engine, before, problem.answer, given)
        except ValueError as error:
            unwritable[name] = str(error)
    request = ScoreRequest(
        problem_id=problem.problem_id,
        messages=prompt.messages(problem),
        chat=prompt.chat,
        continuations=tuple(chains),
    )
    return _Job(
        problem_id=problem.problem_id, request=request, rules=rules, own=own, places=places, slots=slots,
        unwritable=unwritable,
    )  # fmt: skip


def _chain_ids(candidate: Candidate, engine: Scorer, trusted: frozenset[str]) -> tuple[tuple[int, ...], str]:
    if candidate.token_ids and candidate.policy in trusted:
        return candidate.token_ids, SAMPLED
    ids = engine.tokenize(candidate.text)
    return (ids[:-1], CUT_OFF) if candidate.truncated and len(ids) > 1 else (ids, ENDED)


def _chunks(jobs: Iterator[_Job], most: int) -> Iterator[list[_Job]]:
    """Yield what is scored between two writes: more and more, as long as whoever takes it is fast."""
    chunk: list[_Job] = []
    size, tokens = 0, min(most, _FIRST_TOKENS)
    for job in jobs:
        chunk.append(job)
        size += sum(len(one.token_ids) for one in job.first().continuations)
        if size >= tokens:
            begun = time.monotonic()
            yield chunk
            fitting = size * _SECONDS / max(time.monotonic() - begun, 1e-3)
            tokens = min(most, 4 * tokens, max(_FIRST_TOKENS, int(fitting)))
            chunk, size = [], 0
    if chunk:
        yield chunk


def _scored(engine: Scorer, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, dict[str, Scored]]]:
    """Yield each problem with the scores of its chains by key, as soon as all of it is there."""
    by_id = {job.problem_id: job for job in jobs}
    chains: dict[str, dict[str, Scored]] = {job.problem_id: {} for job in jobs}
    requests = [job.first() for job in jobs]
    while requests:
        left = {request.problem_id: len(request.continuations) for request in requests}
        further = []
        for scored in engine.score(requests):
            job = by_id[scored.problem_id]
            if (slot := job.slots.get(scored.key.partition("#")[0])) is not None:
                slot.take(scored)
            else:
                chains[job.problem_id][scored.key] = scored
            left[job.problem_id] -= 1
            if left[job.problem_id]:
                continue
            if (request := job.further()) is not None:
                further.append(request)
            else:
                yield job, chains.pop(job.problem_id)
        requests = further


def _failures(job: _Job, chains: Mapping[str, Scored]) -> dict[str, str]:
    """Return why candidates were not scored: a chain, the slot after it, or the slot alone could not be."""
    reasons = dict(job.unwritable)
    for name in job.rules:
        if name in reasons:
            continue
        errors = (chains[name].error, *(slot.error for slot in job.pair(name)))
        if error := next(filter(None, errors), None):
            reasons[name] = error
    return reasons


def _rows(
    job: _Job, scores: Mapping[str, Scored], done: Sequence[str], known: Mapping[str, float], policy: str
) -> list[Likelihood]:
    means = {**known, **{name: float(scores[name].logprobs.mean(dtype=np.float64)) for name in done}}
    rows = []
    for name in done:
        entropies = scores[name].entropies
        logprobs = scores[name].logprobs.astype(np.float64)
        within, without = job.pair(name)
        rivals = [means[other] for other in job.own if other != name and other in means]
        rows.append(
            Likelihood(
                problem_id=job.problem_id,
                candidate_id=name,
                policy=policy,
                n_tokens=len(logprobs),
                sum_logprob=float(logprobs.sum()),
                mean_logprob=means[name],
                logprob_quantiles=tuple(map(float, np.quantile(logprobs, TOKEN_QUANTILES))),
                perplexity=math.exp(min(-means[name], _MOST_EXPONENT)),
                mean_entropy=None if entropies is None else float(entropies.mean(dtype=np.float64)),
                rank=1 + sum(rival > means[name] for rival in rivals) if rivals else None,
                answer_logprob_with=within.answer_logprob,
                answer_logprob_without=without.answer_logprob,
                opening_logprob_with=within.opening_logprob,
                opening_logprob_without=without.opening_logprob,
                answer_slack=within.slack + without.slack,
                answer_place=job.places[name].place,
                boundary_rule=job.rules[name],
            )
        )
    return rows


def _arrays(scored: Scored, candidate_id: str) -> TokenArrays:
    return TokenArrays(
        problem_id=scored.problem_id,
        candidate_id=candidate_id,
        token_ids=scored.token_ids,
        logprobs=scored.logprobs,
        entropies=scored.entropies,
    )
