"""One problem's candidates, token by token, with the log-probability of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from expo_bench.errors import UserError
from expo_bench.reports.likelihood_views import SOURCE_WORDS, ChainsView, ScoredCandidate, number, policy_label
from expo_bench.reports.sample_views import ANSWER_LIMIT, QUESTION_LIMIT
from expo_bench.reports.text import Excerpt, excerpt, short

MOST_TOKENS = 400
STEPS = (-0.05, -0.3, -1.0, -3.0, -6.0)
"""A token's class is the number of these that its log-probability lies below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatToken:
    """A token's text, or that of a few that make up one character."""

    text: str
    step: int
    """From 0, likely, to `len(STEPS)`."""
    logprob: str
    """Their mean, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatChain:
    """A candidate with its tokens."""

    source: str
    series: int
    about: str
    tokens: list[HeatToken]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """The candidates of one problem side by side, or why they are not shown."""

    missing: str
    where: str = ""
    policy: str = ""
    question: Excerpt | None = None
    answer: Excerpt | None = None
    chains: tuple[HeatChain, ...] = ()


def read_heat(view: ChainsView) -> Heat:
    """Return the first candidate of each source of one problem, with its tokens under the main policy.

    The problem is the one with most sources, among these the first of the highest level. The run folder holds token
    ids, so their texts need the policy's tokenizer, which may be gone.
    """
    chosen = _choose(view.scored)
    if not chosen:
        return Heat(missing="There are no candidates to show token by token.")
    try:
        chains = chain_tokens(view, chosen)
    except (UserError, ImportError) as error:
        return Heat(missing=f"The candidates are not shown token by token: {short(str(error), 300)}.")
    problem = chosen[0].problem
    where = [problem.benchmark, None if problem.level is None else f"level {problem.level}", problem.problem_id]
    return Heat(
        missing="",
        where=" · ".join(short(part, 80) for part in where if part),
        policy=policy_label(view.main),
        question=excerpt(problem.question, QUESTION_LIMIT),
        answer=excerpt(problem.answer, ANSWER_LIMIT),
        chains=tuple(chains),
    )


def step_of(logprob: float) -> int:
    """Return the class of a log-probability, from 0 for a likely token."""
    return sum(logprob < step for step in STEPS)


def step_labels() -> list[str]:
    """Return what the classes stand for."""
    bounds = [f"{step:g}".replace("-", "\N{MINUS SIGN}") for step in STEPS]
    between = [f"{low} to {high}" for high, low in pairwise(bounds)]
    return [f"above {bounds[0]}", *between, f"below {bounds[-1]}"]


def decoded(tokenizer: Any, token_ids: Sequence[int]) -> list[tuple[str, int]]:
    """Return the text of each token with the number of tokens that it takes.

    A character whose bytes lie in several tokens comes with the last of them. The texts join to the whole text.
    """
    pieces = []
    before, taken = "", 0
    for end in range(1, len(token_ids) + 1):
        # a token by itself may lose its leading space, so each is what the text grows by
        text = tokenizer.decode(list(token_ids[:end]), clean_up_tokenization_spaces=False)
        taken += 1
        if text.endswith("\ufffd") and end < len(token_ids):
            continue
        pieces.append((text[len(before) :], taken))
        before, taken = text, 0
    return pieces


def _choose(scored: Sequence[ScoredCandidate]) -> list[ScoredCandidate]:
    """Return a candidate of each source of the problem to show: the first that repeats no other, or else the first."""
    problems: dict[str, dict[str, list[ScoredCandidate]]] = {}
    for one in sorted(scored, key=lambda one: (one.problem.problem_id, one.candidate.candidate_id)):
        problems.setdefault(one.problem.problem_id, {}).setdefault(one.candidate.source, []).append(one)
    if not problems:
        return []
    chosen = [_of_each(sources) for sources in problems.values()]
    return max(chosen, key=lambda own: (len(own), len({_text(one) for one in own}), own[0].problem.level or 0))


def _of_each(sources: Mapping[str, Sequence[ScoredCandidate]]) -> list[ScoredCandidate]:
    found: list[ScoredCandidate] = []
    for own in (sources[source] for source in SOURCE_WORDS if source in sources):
        seen = {_text(one) for one in found}
        found.append(next((one for one in own if _text(one) not in seen), own[0]))
    return found


def _text(one: ScoredCandidate) -> str:
    return one.candidate.text.strip()


def chain_tokens(view: ChainsView, chosen: Sequence[ScoredCandidate]) -> list[HeatChain]:
    """Return candidates of one problem with their tokens under the main policy.

    Raises:
        UserError: the token arrays or the tokenizer are not at hand.
    """
    from expo_bench.storage.token_arrays import read_parts

    wanted = {(one.problem.problem_id, one.candidate.candidate_id) for one in chosen}
    arrays = {}
    for row in read_parts(view.folder.likelihoods_folder(view.main)):
        if (row.problem_id, row.candidate_id) in wanted:
            arrays[row.candidate_id] = row
            if len(arrays) == len(wanted):
                break
    if len(arrays) < len(wanted):
        raise UserError("the run folder has no token arrays of them")
    tokenizer = _tokenizer(view)
    return [_chain(one, arrays[one.candidate.candidate_id], tokenizer) for one in chosen]


def _tokenizer(view: ChainsView) -> Any:
    from expo_bench.engines.loading import find_model, load_tokenizer

    name = view.folder.policy_path(view.main).name
    model = view.folder.scored_model(view.main)
    if model is None:
        raise UserError(f"{name} is missing, which names the policy's tokenizer")
    try:
        files = find_model(model["name"], model.get("revision"))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{name} does not name the policy's tokenizer") from error
    # what the run folder names is asked of no server: a page is made from what is here
    return load_tokenizer(files, local_files_only=True)


def _chain(one: ScoredCandidate, arrays: Any, tokenizer: Any) -> HeatChain:
    logprobs = arrays.logprobs[:MOST_TOKENS]
    tokens, at = [], 0
    for text, count in decoded(tokenizer, arrays.token_ids[:MOST_TOKENS]):
        mean = float(logprobs[at : at + count].mean())
        at += count
        # escaped, a token may grow; a page over hostile texts stays small
        tokens.append(HeatToken(text=text[:80], step=step_of(mean), logprob=number(mean)))
    likely, lift = (number(value) for value in (one.likelihood.mean_logprob, one.lift))
    return HeatChain(
        source=SOURCE_WORDS[one.candidate.source],
        series=list(SOURCE_WORDS).index(one.candidate.source),
        about=f"{one.likelihood.n_tokens:,} tokens · {likely} per token · answer lift {lift}",
        tokens=tokens,
        left_out=max(len(arrays.token_ids) - MOST_TOKENS, 0),
    )
