"""Log-probabilities of given continuations under a transformers model.

A prompt is computed once for all its continuations. They follow it in one packed row, in which each sees the prompt and
itself, so that nothing is padded. The language model head, the dearest part with a large vocabulary, sees the positions
that are scored only, a chunk at a time, and its softmax is in float32 whatever the model's type.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from expo_bench.engines.base import Branch, Continuation, Scored
from expo_bench.engines.transformers.slots import Asked, causal_at_the_end
from expo_bench.engines.vocabulary import Vocabulary

_HEAD_CHUNK = 256
_SOFTMAX_ROWS = 16
"""On a CPU: few enough rows of the vocabulary to stay in its cache while the softmax passes over them."""


class SharedPrompt:
    """Keys and values of one prompt, read by all continuations of it; travels as the model's keyword `slots`."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        """Of the sequences that are packed into the row of the next pass."""
        self._prompt: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.has_prompt = False
        """Whether the next pass continues the prompt; else it is the prompt."""

    def attend(self, layer: int, asked: Asked) -> torch.Tensor:
        """Attention output (1, heads, S, D) of packed sequences, each of which sees the prompt and itself."""
        if not self.has_prompt:
            self._prompt[layer] = (asked.key, asked.value)
            return causal_at_the_end(asked)
        parts = []
        split = (torch.split(states, self.lengths, 2) for states in asked[:3])
        for queries, keys, values in zip(*split, strict=True):
            if layer in self._prompt:
                before, values_before = self._prompt[layer]
                keys, values = torch.cat([before, keys], dim=2), torch.cat([values_before, values], dim=2)
            parts.append(causal_at_the_end(Asked(queries, keys, values, asked.scale, asked.window)))
        return torch.cat(parts, dim=2)


@torch.inference_mode()
def score_prompt(
    model: Any,
    problem_id: str,
    prompt: Sequence[int],
    continuations: Sequence[Continuation],
    batch_tokens: int,
    vocabulary: Vocabulary | None = None,
) -> Iterator[Scored]:
    """Yield the scores of one prompt's continuations.

    Args:
        model: a transformers model prepared by `slots.install`.
        problem_id: handed through.
        prompt: its token ids, at least one.
        continuations: what to score; each has at least one token to score.
        batch_tokens: tokens of the continuations in one pass at most, but for a single longer one.
        vocabulary: of the model's tokenizer; needed where a continuation has marks.
    """
    before, last = list(prompt[:-1]), prompt[-1]
    cache = SharedPrompt()
    if before:
        _hidden(model, [before], 0, cache)
    cache.has_prompt = True
    for batch in _batches(continuations, batch_tokens):
        yield from _score_batch(model, problem_id, len(before), last, batch, cache, vocabulary)


def _batches(continuations: Sequence[Continuation], batch_tokens: int) -> Iterator[list[Continuation]]:
    batch: list[Continuation] = []
    size = 0
    for one in continuations:
        if batch and size + len(one.token_ids) > batch_tokens:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.token_ids)
    if batch:
        yield batch


def _score_batch(
    model: Any,
    problem_id: str,
    first: int,
    last: int,
    batch: Sequence[Continuation],
    cache: SharedPrompt,
    vocabulary: Vocabulary | None,
) -> Iterator[Scored]:
    """Score continuations of one prompt, whose `last` id, at position `first`, predicts their first token."""
    # a sequence's input is the prompt's last token and all of the continuation but its last
    hidden = _hidden(model, [[last, *one.token_ids[:-1]] for one in batch], first, cache)
    parts = torch.split(hidden, cache.lengths)
    wanted = torch.cat([part[one.given :] for part, one in zip(parts, batch, strict=True)])
    ids = [one.token_ids[one.given :] for one in batch]
    scores = token_scores(model, wanted, torch.tensor([token for own in ids for token in own], device=wanted.device))
    logprobs, entropies = (torch.split(whole.cpu(), [len(own) for own in ids]) for whole in scores)
    hidden_parts = torch.split(wanted, [len(own) for own in ids])
    for one, own, own_hidden, *arrays in zip(batch, ids, hidden_parts, logprobs, entropies, strict=True):
        yield Scored(
            problem_id=problem_id,
            key=one.key,
            token_ids=own,
            # copies, so that a kept array does not keep the whole batch
            logprobs=arrays[0].numpy().copy(),
            entropies=arrays[1].numpy().copy(),
            branches=_branches(model, own_hidden, one, vocabulary) if vocabulary and one.marks else (),
        )


def _branches(model: Any, hidden: torch.Tensor, one: Continuation, vocabulary: Vocabulary) -> tuple[Branch, ...]:
    """What may stand at each place of hidden (T, H), exactly: all of the vocabulary is seen."""
    queries, order = vocabulary.queries(one), torch.tensor(vocabulary.order, device=hidden.device)
    found = []
    for first in range(0, len(queries), _SOFTMAX_ROWS):
        rows = head(model, hidden[first : first + _SOFTMAX_ROWS]).float().log_softmax(-1)
        for row, query in zip(rows, queries[first : first + _SOFTMAX_ROWS], strict=True):
            values = row[[token for token, _ in query.inside]].tolist()
            inside = ((*token, value) for token, value in zip(query.inside, values, strict=True))
            ends = (row[order[low:high]].logsumexp(-1).item() if high > low else -math.inf for low, high in query.ends)
            found.append(Branch(inside=tuple(inside), ends=tuple(ends)))
    return tuple(found)


def _hidden(model: Any, rows: list[list[int]], first: int, cache: SharedPrompt) -> torch.Tensor:
    """Last hidden states (T, H) of sequences that all begin at position `first`, one behind the other."""
    cache.lengths = [len(row) for row in rows]
    ids = torch.tensor([[token for row in rows for token in row]], device=model.device)
    positions = torch.cat([torch.arange(first, first + length) for length in cache.lengths]).to(ids.device)
    out: torch.Tensor = model.base_model(
        input_ids=ids, position_ids=positions[None], use_cache=False, slots=cache
    ).last_hidden_state
    return out[0]


def token_scores(model: Any, hidden: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each id and entropy of the distribution it was taken from, in nats, both (T,) float32.

    Args:
        model: a transformers model.
        hidden: last hidden states (T, H) at the positions that predict `ids`.
        ids: token ids (T,).
    """
    # written into, not collected: small tensors that outlive big ones leave holes too small for the next big ones
    logprobs = torch.empty(len(ids), device=hidden.device)
    entropies = torch.empty_like(logprobs)
    rows = _SOFTMAX_ROWS if hidden.device.type == "cpu" else _HEAD_CHUNK
    for first in range(0, len(ids), _HEAD_CHUNK):
        logits = head(model, hidden[first : first + _HEAD_CHUNK])
        for low in range(0, len(logits), rows):
            few = logits[low : low + rows]
            place = slice(first + low, first + low + len(few))
            logprobs[place], entropies[place] = _softmax_scores(few, ids[place])
    return logprobs, entropies


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
