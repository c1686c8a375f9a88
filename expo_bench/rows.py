"""The rows that flow between stages. Frozen, no logic, no I/O.

A missing value is None, never NaN and never 0. `storage` reads and writes these rows; each is one line of JSON.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

PromptKind = Literal["solve", "self_explain"]
FinishReason = Literal["stop", "length", "error"]
Role = Literal["member", "beside", "discarded"]
"""What a training step makes of a chain: in the group, of the auxiliary term beside it, or not learned from."""
Status = Literal["graded", "no_answer", "truncated", "timeout", "error", "bad_gold", "copied"]
STATUSES: tuple[Status, ...] = ("graded", "no_answer", "truncated", "timeout", "error", "bad_gold", "copied")
TELLING = ("graded", "no_answer", "truncated", "copied")
"""Statuses that tell whether the policy solved the problem: without an answer it did not. The others tell nothing."""


def solved(status: Status, correct: bool | None) -> bool | None:
    """Return whether a sample of this grade solved its problem; None where nobody can tell."""
    return correct is True if status in TELLING else None


Source = Literal["expert", "self_explanation", "own_correct", "own_incorrect", "rationalised", "imported"]
SOURCES: tuple[Source, ...] = (
    "expert", "self_explanation", "own_correct", "own_incorrect", "rationalised", "imported",
)  # fmt: skip
TOKEN_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One question of a benchmark with its gold answer. Key: problem_id."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    problem_id: str
    """Benchmark, a dash, and the first 12 hex digits of the question's sha256."""
    benchmark: str
    split: str
    question: str
    answer: str
    """The gold answer, as text that the grader can read."""
    solution: str | None = None
    """The benchmark's own (expert) chain of thought."""
    level: int | None = None
    subject: str | None = None
    domain: tuple[str, ...] = ()
    """The domains that the problem belongs to; it counts in each."""
    source: str | None = None
    """Where the problem comes from: a competition, a file, a URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion of a prompt by a policy. Key: problem_id, sample_index."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    problem_id: str
    sample_index: int
    prompt_kind: PromptKind
    text: str
    token_ids: tuple[int, ...] | None
    """The ids that the policy emitted, end-of-sequence included; None where the engine does not tell them."""
    n_tokens: int | None
    """None for a text from elsewhere."""
    finish_reason: FinishReason
    seed: int | None
    """None for a text from elsewhere."""
    sum_logprob: float | None
    """Sum over token_ids of log pi(token), in nats, at temperature 1 and without truncation of the distribution."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """A grader's verdict on a sample. Key: problem_id, sample_index, grader."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    problem_id: str
    sample_index: int
    grader: str
    status: Status
    correct: bool | None
    """True or False where status is "graded", else None."""
    extracted: str | None
    """The answer that was found in the text."""
    answer_class: int | None
    """The sample_index of the first graded sample of the problem whose answer is equivalent (itself, if none is)."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number over the samples of a subset of problems. Key: name, subset, grader."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    """For instance "avg@n", "pass@4", "maj@8", "G-Pass@8_0.5", "Cover@0.5", "truncated"."""
    subset: str
    """"all", or "field=value": "benchmark=math500", "level=5", "subject=Algebra", "domain=..."."""
    grader: str
    value: float | None
    stderr: float | None
    """Clustered by problem."""
    ci_low: float | None
    ci_high: float | None
    """A 95% interval for problems like these, new ones from the same source; docs/metrics.md names the method."""
    n_problems: int
    n_samples: int
    counts: dict[str, int]
    """Samples by status; the counts add up to n_samples."""
    these_low: float | None = None
    these_high: float | None = None
    """A 95% interval for these problems alone: what other samples of them would give."""
    these_reason: str | None = None
    """Why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A chain of thought that training could learn from. Key: problem_id, candidate_id."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    problem_id: str
    candidate_id: str
    """For instance "expert-0", "self_explanation-1", "own-3" (the sample's index)."""
    source: Source
    text: str
    token_ids: tuple[int, ...] | None
    """The ids that `policy` emitted, end-of-sequence included; None for a text from elsewhere."""
    finish_reason: FinishReason | None
    """None for a text from elsewhere."""
    reaches_answer: bool | None
    """Whether its final answer is the gold answer; a chain without one does not; None where that cannot be told."""
    leaks_answer: bool | None
    """See `chains.leaks_answer`; None without a gold answer."""
    repetitive: bool
    """See `chains.is_repetitive`."""
    truncated: bool
    """Cut off by the token limit."""
    policy: str | None
    """The model that wrote it; None where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """How likely a candidate is under a policy that does not see the answer. Key: problem_id, candidate_id, policy.

    Log-probabilities are in nats. Answer lift is answer_logprob_with - answer_logprob_without.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    problem_id: str
    candidate_id: str
    policy: str
    n_tokens: int
    sum_logprob: float
    mean_logprob: float
    """Per token."""
    logprob_quantiles: tuple[float, ...]
    """Of the tokens' log-probabilities, at TOKEN_QUANTILES."""
    perplexity: float
    mean_entropy: float | None
    """Of the policy's distribution where each token was taken, averaged over tokens; None where it is not told."""
    rank: int | None
    """1 + the number of the problem's other own samples with a greater mean_logprob; None without any."""
    answer_logprob_with: float
    """That what follows the slot's opening, `\\boxed{` behind the chain without its own answer, begins with the gold
    answer and closes: summed over the ways to write it in tokens."""
    answer_logprob_without: float
    """The same in the slot right after the prompt."""
    opening_logprob_with: float
    """The slot's opening, behind the chain without its own answer."""
    opening_logprob_without: float
    boundary_rule: str
    """How the chain became token ids; see docs/likelihood.md."""
    answer_slack: float | None = None
    """By how many nats the answer lift may be wrong: ways to write the answer that were not looked at or not listed."""
    answer_place: Literal["box", "text", "end"] | None = None
    """What the slot stands in place of: the chain's own box, its answer in plain text, or nothing: the chain has no
    answer and the slot is behind its end. None in rows of earlier versions, whose answer lift is not comparable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotAnswers:
    """Short answers that a policy drew in the answer's slot. Key: problem_id, candidate_id, before, policy."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    problem_id: str
    candidate_id: str | None
    """The candidate whose chain, without its own answer, stands before the slot; None where no chain does."""
    before: str
    """What stands before the slot where no chain does: an opening of mathematics, or nothing."""
    policy: str
    n: int
    """Answers drawn, those that failed left out."""
    n_correct: int
    """Equivalent to the gold answer."""
    n_open: int
    """Not closed within the token limit: they count as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodMetric:
    """A number over the candidates of one source in a subset of problems. Key: name, subset, source, policy."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    """For instance "mean_logprob", "nll_ratio", "answer_lift", "tokens", "reaches_answer"."""
    subset: str
    """"all" or "level=5", within a benchmark where there are several: "benchmark=math500,level=5"."""
    source: Source
    policy: str
    value: float | None
    stderr: float | None
    """Clustered by problem."""
    ci_low: float | None
    ci_high: float | None
    """A 95% interval for problems like these."""
    n_problems: int
    n_candidates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A chain that a training step drew or learned from. Key: step, group, source, sample_index.

    Members of the group have an advantage; chains beside it, as self-explanations of ExP-GRPO, have none.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    step: int
    """Optimizer steps taken before it was drawn."""
    group: int
    """Place of the problem in the step."""
    problem_id: str
    level: int | None
    source: str
    """own, self_explanation, expert, hint, hinted, prefixed: what kind of chain it is; methods may have more."""
    sample_index: int
    text: str
    n_tokens: int
    finish_reason: FinishReason | None
    """None for a text from elsewhere."""
    sum_logprob: float | None
    """log pi(chain | the prompt it is learned under) in nats under the policy of the step; None: not measured."""
    status: Status
    reward: float | None
    """The grader's, whatever a method makes of it; None where it cannot tell."""
    advantage: float | None
    weight: float | None
    """Share of the auxiliary term of its group; None for own rollouts, 0 for a chain that was not used."""
    leaks_answer: bool | None
    """None for own rollouts."""
    role: Role | None = None
    """None in rows that were written before it was recorded."""
    attempt: int = 0
    """How many problems or draws of this group came before, where a method draws again."""
    drawn_under: str | None = None
    """The prompt that it was drawn under: solve, explain, hint ...; None for a text from elsewhere."""
    learned_under: str | None = None
    """The prompt that it is learned under; None in rows that were written before it was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a run is, so that its folder explains itself. One a run folder."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    schema_version: int
    status: Literal["started", "finished"]
    started: str
    finished: str | None
    protocol_hash: str
    """Runs are compared where it agrees: a digest of `protocol`."""
    protocol: dict[str, Any]
    """Prompt templates, max tokens, temperature, top-p, stop, thinking, grader."""
    model: dict[str, Any]
    """Name, revision, digests of weights, tokenizer and chat template, engine and its version, dtype."""
    benchmarks: dict[str, dict[str, Any]]
    """For each benchmark: split, revision, digest of questions and answers, number of problems."""
    seed: int | None
    """None for samples from elsewhere."""
    environment: dict[str, Any]
    """Python and package versions, processor, accelerators, git commit."""
    counts: dict[str, int]
    """Rows by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """A long-form completion to imitate: a thought, then a solution, each in its tags. Key: thought_id."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    thought_id: str
    """"distilled-" and 12 hex digits of question and text, or "explored-", round, problem and sample."""
    problem_id: str
    benchmark: str
    question: str
    answer: str
    """The gold answer; empty where nobody knows it."""
    level: int | None
    text: str
    """With all tags."""
    token_ids: tuple[int, ...] | None
    """The ids that the policy sampled, end-of-sequence included; None for a text from elsewhere."""
    source: Literal["distilled", "explored"]
    round: int
    """Of self-improvement in which it came in; 0 for what is imitated at first."""
    n_tokens: int | None
    perplexity: float | None
    """exp(-mean log-probability a token) under `policy`, which sees the question only; None where it was not scored."""
    policy: str | None
    origin: str
    """File and row, or run and sample."""
