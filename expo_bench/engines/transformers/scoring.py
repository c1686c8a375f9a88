"""Log-probabilities of given continuations under a transformers model.

What continuations begin with together is read once (`prefixes`). The language model head, the dearest part with a large
vocabulary, sees the positions that are scored only, a chunk at a time, and its softmax is in float32 whatever the
model's type.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from expo_bench.engines.base import Branch, Continuation, Scored
from expo_bench.engines.transformers.prefixes import Ids, Part, Prefixes
from expo_bench.engines.vocabulary import Query, Vocabulary

_HEAD_CHUNK = 256
_SOFTMAX_ROWS = 16
"""On a CPU: few enough rows of the vocabulary to stay in its cache while the softmax passes over them."""


@torch.inference_mode()
def score_prompt(
    model: Any,
    problem_id: str,
    prompt: Sequence[int],
    continuations: Sequence[Continuation],
    batch_tokens: int,
    vocabulary: Vocabulary | None = None,
    prefixes: Prefixes | None = None,
) -> Iterator[Scored]:
    """Yield the scores of one prompt's continuations, those that another begins with after that one.

    Args:
        model: a transformers model prepared by `slots.install`.
        problem_id: handed through.
        prompt: its token ids, at least one.
        continuations: what to score; each has at least one token to score.
        batch_tokens: new tokens in one pass at most, but for a single longer continuation.
        vocabulary: of the model's tokenizer; needed where a continuation has marks.
        prefixes: what the same model has read before; None keeps the prompt alone.
    """
    prefixes = prefixes or Prefixes(0)
    read = prefixes.prompt(model, _ids(prompt[:-1]))
    # the input of a continuation's last token is all before it
    waiting = [(one, _ids([*prompt, *one.token_ids[:-1]])) for one in continuations]
    while waiting:
        places, parts = prefixes.choose([ids for _, ids in waiting], read, batch_tokens)
        prefixes.read(model, parts)
        batch = [waiting[place][0] for place in places]
        yield from _score_batch(model, problem_id, len(prompt) - 1, batch, parts, vocabulary)
        waiting = [pair for place, pair in enumerate(waiting) if place not in places]


def _ids(ids: Sequence[int]) -> Ids:
    return np.array(ids, dtype=np.int64)


def _score_batch(
    model: Any,
    problem_id: str,
    first: int,
    batch: Sequence[Continuation],
    parts: Sequence[Part],
    vocabulary: Vocabulary | None,
) -> Iterator[Scored]:
    """Score continuations that were read; the id at position `first` predicts their first token."""
    wanted = torch.cat([part.hidden_from(first + one.given) for part, one in zip(parts, batch, strict=True)])
    ids = [one.token_ids[one.given :] for one in batch]
    taken = torch.tensor([token for own in ids for token in own], device=wanted.device)
    queries: list[Query | None] = []
    for one, own in zip(batch, ids, strict=True):
        queries += vocabulary.queries(one) if vocabulary and one.marks else [None] * len(own)
    order = torch.from_numpy(vocabulary.order).to(wanted.device) if vocabulary else None
    # written into, not collected: small tensors that outlive big ones leave holes too small for the next big ones
    logprobs, entropies = torch.empty(2, len(taken), device=wanted.device)
    branches: list[Branch | None] = []
    for place, logits in _logits(model, wanted):
        logprobs[place], entropies[place] = _softmax_scores(logits, taken[place])
        branches += _branches(logits, queries[place], order)
    low = 0
    for one, own in zip(batch, ids, strict=True):
        place = slice(low, low := low + len(own))
        yield Scored(
            problem_id=problem_id,
            key=one.key,
            token_ids=own,
            # copies, so that a kept array does not keep the whole batch
            logprobs=logprobs[place].cpu().numpy().copy(),
            entropies=entropies[place].cpu().numpy().copy(),
            branches=tuple(branch for branch in branches[place] if branch),
        )


def _logits(model: Any, hidden: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the logits (n, V) of hidden states (T, H), and which of them they are: few at a time."""
    rows = _SOFTMAX_ROWS if hidden.device.type == "cpu" else _HEAD_CHUNK
    for first in range(0, len(hidden), _HEAD_CHUNK):
        logits = head(model, hidden[first : first + _HEAD_CHUNK])
        for low in range(0, len(logits), rows):
            few = logits[low : low + rows]
            yield slice(first + low, first + low + len(few)), few


def _branches(
    logits: torch.Tensor, queries: Sequence[Query | None], order: torch.Tensor | None
) -> Iterator[Branch | None]:
    """What may stand where a query asks, exactly: all of the vocabulary is seen."""
    for row, query in zip(logits, queries, strict=True):
        if query is None or order is None:
            yield None
            continue
        scores = row.float().log_softmax(-1)
        values = scores[[token for token, _ in query.inside]].tolist()
        inside = tuple((*token, value) for token, value in zip(query.inside, values, strict=True))
        ends = (scores[order[low:high]].logsumexp(-1).item() if high > low else -math.inf for low, high in query.ends)
        yield Branch(inside=inside, ends=tuple(ends))


def _softmax_scores(logits: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scores = logits.float()
    scores -= scores.amax(-1, keepdim=True)
    taken = scores.gather(-1, ids[:, None])[:, 0]
    weights = scores.exp()
    total = weights.sum(-1)
    # entropy = log Z - E[score]; a score of minus infinity has weight 0, and its product must be 0 as well
    mean = weights.mul_(scores.clamp_(min=-1e30)).sum(-1) / total
    return taken - total.log(), total.log() - mean


def head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Logits (T, V) of hidden states (T, H), with the scaling that some architectures put behind the head."""
    logits: torch.Tensor = model.get_output_embeddings()(hidden)
    config = model.config
    if (scale := getattr(config, "logit_scale", None)) is not None:
        logits = logits * scale
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits
