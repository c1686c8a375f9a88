"""Log-probabilities of given continuations under a transformers model.

A prompt is computed once for all its continuations, which then run side by side over its keys and values. The language
model head, the dearest part with a large vocabulary, sees completion positions only, a chunk at a time, and its softmax
is in float32 whatever the model's type.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from expo_bench.engines.base import Continuation, Scored
from expo_bench.engines.slots import causal_at_the_end

_HEAD_CHUNK = 256


class SharedPrompt:
    """Keys and values of one prompt, read by all continuations of it; travels as the model's keyword `slots`."""

    def __init__(self) -> None:
        self._prompt: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attention output (B, heads, S, D); the first pass is the prompt, every later one continues it."""
        if layer not in self._prompt:
            self._prompt[layer] = (key, value)
        else:
            rows = len(key)
            before, values_before = self._prompt[layer]
            key = torch.cat([before.expand(rows, -1, -1, -1), key], dim=2)
            value = torch.cat([values_before.expand(rows, -1, -1, -1), value], dim=2)
        return causal_at_the_end(query, key, value, scale, window)


@torch.inference_mode()
def score_prompt(
    model: Any, problem_id: str, prompt: Sequence[int], continuations: Sequence[Continuation], padded_tokens: int
) -> Iterator[Scored]:
    """Yield the scores of one prompt's continuations, shorter ones first.

    Args:
        model: a transformers model prepared by `slots.install`.
        problem_id: handed through.
        prompt: its token ids, at least one.
        continuations: what to score; each has at least one token to score.
        padded_tokens: tokens of a batch at most, padding included.
    """
    before, last = list(prompt[:-1]), prompt[-1]
    cache = None
    if before and len(continuations) > 1:
        cache = SharedPrompt()
        _hidden(model, [before], 0, cache)
    for batch in _batches(continuations, padded_tokens):
        yield from _score_batch(model, problem_id, before, last, batch, cache)


def _batches(continuations: Sequence[Continuation], padded_tokens: int) -> Iterator[list[Continuation]]:
    batch: list[Continuation] = []
    for one in sorted(continuations, key=lambda one: len(one.token_ids)):
        if batch and (len(batch) + 1) * len(one.token_ids) > padded_tokens:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _score_batch(
    model: Any,
    problem_id: str,
    before: list[int],
    last: int,
    batch: Sequence[Continuation],
    cache: SharedPrompt | None,
) -> Iterator[Scored]:
    """Score continuations of one prompt: its ids `before` the last, and the `last`, which predicts the first token."""
    longest = max(len(one.token_ids) for one in batch)
    # a row's input is the prompt's last token and all of the continuation but its last; padding stands behind
    rows = [[last, *one.token_ids[:-1]] + [last] * (longest - len(one.token_ids)) for one in batch]
    if cache is None:
        rows = [before + row for row in rows]
        hidden = _hidden(model, rows, 0, SharedPrompt())[:, len(before) :]
    else:
        hidden = _hidden(model, rows, len(before), cache)
    for row, one in enumerate(batch):
        wanted = hidden[row, one.given : len(one.token_ids)]
        ids = torch.tensor(one.token_ids[one.given :], device=wanted.device)
        logprobs, entropies = token_scores(model, wanted, ids)
        yield Scored(
            problem_id=problem_id,
            key=one.key,
            token_ids=one.token_ids[one.given :],
            logprobs=logprobs.cpu().numpy(),
            entropies=entropies.cpu().numpy(),
        )


def _hidden(model: Any, rows: list[list[int]], first: int, cache: SharedPrompt) -> torch.Tensor:
    ids = torch.tensor(rows, device=model.device)
    positions = torch.arange(first, first + ids.shape[1], device=ids.device).expand(len(rows), -1)
    out: torch.Tensor = model.base_model(
        input_ids=ids, position_ids=positions, use_cache=False, slots=cache
    ).last_hidden_state
    return out


def token_scores(model: Any, hidden: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each id and entropy of the distribution it was taken from, in nats, both (T,) float32.

    Args:
        model: a transformers model.
        hidden: last hidden states (T, H) at the positions that predict `ids`.
        ids: token ids (T,).
    """
    logprobs, entropies = [], []
    for part, wanted in zip(torch.split(hidden, _HEAD_CHUNK), torch.split(ids, _HEAD_CHUNK), strict=True):
        scores = head(model, part).float()
        scores -= scores.amax(-1, keepdim=True)
        taken = scores.gather(-1, wanted[:, None])[:, 0]
        weights = scores.exp()
        total = weights.sum(-1)
        # entropy = log Z - E[score], without a second copy of the vocabulary
        mean = torch.einsum("tv,tv->t", weights, scores.clamp_(min=-1e30)) / total
        logprobs.append(taken - total.log())
        entropies.append(total.log() - mean)
    return torch.cat(logprobs), torch.cat(entropies)


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
