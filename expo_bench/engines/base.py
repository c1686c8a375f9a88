"""The small protocol behind which every engine stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from expo_bench.prompts import Message
from expo_bench.rows import FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to sample; the same for every request of a call."""

    temperature: float
    """0 is greedy decoding."""
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    """Strings that end a completion; the string itself is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A prompt and the samples that are wanted of it."""

    problem_id: str
    messages: tuple[Message, ...]
    sample_indexes: tuple[int, ...]
    seeds: tuple[int, ...]
    """One a sample, same order as `sample_indexes`."""
    chat: bool = True
    """False: the only message's content is the prompt, with no chat template around it."""
    prefix: str = ""
    """The beginning of the assistant's turn, given; completions continue it and do not repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What came of one sample of one request."""

    problem_id: str
    sample_index: int
    text: str
    token_ids: tuple[int, ...] | None
    n_tokens: int
    finish_reason: FinishReason
    sum_logprob: float | None
    """As `Sample.sum_logprob`."""
    error: str | None = None
    """Why there is no text, where finish_reason is "error"; the rest of the call goes on."""

    @classmethod
    def failed(cls, problem_id: str, sample_index: int, error: str) -> "Completion":
        """Return what stands for a sample that was not drawn."""
        return cls(
            problem_id=problem_id,
            sample_index=sample_index,
            text="",
            token_ids=None,
            n_tokens=0,
            finish_reason="error",
            sum_logprob=None,
            error=error,
        )


@dataclass(slots=True)
class Gauge:
    """What an engine is writing at this moment; read from other threads, so each field is set whole."""

    running: int = 0
    """Samples that are begun and not finished."""
    tokens: int = 0
    """Tokens of these samples so far; stays 0 where an engine cannot tell."""
    prompts: dict[tuple[str, int], int] = field(default_factory=dict)
    """Problem and sample -> tokens of what was asked for it, where a server counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """Token ids that may follow a prompt."""

    key: str
    token_ids: tuple[int, ...]
    given: int = 0
    """The first `given` ids are context: they are read and not scored."""
    text: bytes = b""
    """What the scored ids write, where it is asked for all ways to write it (`Scored.branches`)."""
    marks: tuple[int, ...] = ()
    """Bytes of `text`: how likely is it that what follows begins with so many? The last is the whole text's length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A prompt and the continuations whose likelihood is wanted."""

    problem_id: str
    messages: tuple[Message, ...]
    continuations: tuple[Continuation, ...]
    chat: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One place of a text that is being written: what may stand there in place of the id that was given."""

    inside: tuple[tuple[int, int, float], ...]
    """Tokens that write a part of what is left of the text: id, bytes, log-probability."""
    ends: tuple[float, ...]
    """For each mark the log-probability, over all tokens, that the next one reaches it; -inf where it lies behind."""
    unseen: float = 0.0
    """Tokens of both kinds that the engine does not list have at most this probability together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """The likelihood of one continuation, token by token."""

    problem_id: str
    key: str
    token_ids: tuple[int, ...]
    """The ids that were scored, n of them."""
    logprobs: NDArray[np.float32]
    """log pi(token | all before it) in nats, shape (n,)."""
    entropies: NDArray[np.float32] | None
    """Entropy of the policy where each token was taken, in nats, shape (n,); None where the engine tells none."""
    branches: tuple[Branch, ...] = ()
    """One a scored id, where the continuation has marks."""
    error: str | None = None
    """Why nothing was scored; the arrays are then empty."""

    @classmethod
    def failed(cls, problem_id: str, key: str, error: str) -> "Scored":
        """Return what stands for a continuation that was not scored."""
        none = np.empty(0, dtype=np.float32)
        return cls(problem_id=problem_id, key=key, token_ids=(), logprobs=none, entropies=None, error=error)


class Scorer(Protocol):
    """An engine that tells the likelihood of given tokens."""

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text that follows a prompt: by itself, no special tokens, end-of-turn appended."""
        ...

    def token_texts(self, ids: Sequence[int]) -> list[bytes]:
        """Return what each id writes where text stands before it."""
        ...

    def cover(self, text: bytes) -> tuple[int, ...] | None:
        """Return ids that write the text, not always those of `tokenize`; None where there are none."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        """Yield the scores of all continuations, in any order; one that cannot be scored carries an `error`.

        Raises:
            UserError: a continuation has nothing to score.
        """
        ...


class Generator(Protocol):
    """An engine that samples completions."""

    gauge: Gauge
    """Up to date while `generate` runs."""

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        """Yield each completion as soon as it is finished, in any order.

        A prompt that leaves no room in the model's context ends as an "error" completion.

        Raises:
            UserError: the engine cannot do what `params` asks for.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records of the model and the engine, as JSON values."""
        ...

    def close(self) -> None:
        """Free the model, its processes and its memory."""
        ...
