"""Logits -> token ids: pure tensor functions."""

import torch

_BLOCK = 256
_SHORTLIST = 1024


def choose(
    logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample one token a row by inverting the cumulative distribution.

    Args:
        logits: (B, V), any floating type.
        uniforms: (B,) float32 in [0, 1); a row's choice depends on its own logits and number only.
        temperature: 0 takes the most likely token.
        top_p: the smallest set of most likely tokens whose mass reaches it is kept.

    Returns:
        Token ids (B,) and their log-probabilities (B,) in nats under softmax(logits), at temperature 1 and untruncated.
    """
    scores = logits.float()
    scores = scores - scores.amax(-1, keepdim=True)
    if temperature == 0:
        tokens = scores.argmax(-1)
        return tokens, _logprobs(scores, tokens, scores.exp().sum(-1))
    weights = torch.exp(scores if temperature == 1 else scores / temperature)
    tokens = _invert(weights, uniforms) if top_p >= 1 else _invert_nucleus(weights, uniforms, top_p)
    total = weights.sum(-1) if temperature == 1 else scores.exp().sum(-1)
    return tokens, _logprobs(scores, tokens, total)


def _logprobs(scores: torch.Tensor, tokens: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    return scores.gather(-1, tokens[:, None])[:, 0] - total.log()


def _invert(weights: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Sample from unnormalised weights (B, V): first a block of the vocabulary, then a token of it."""
    # two levels: a running sum over 150k float32 values is slow and loses the tail
    size, vocabulary = weights.shape
    whole = vocabulary // _BLOCK * _BLOCK
    blocks = weights[:, :whole].reshape(size, -1, _BLOCK).sum(-1)
    if whole < vocabulary:
        blocks = torch.cat([blocks, weights[:, whole:].sum(-1, keepdim=True)], dim=-1)
    ends = blocks.double().cumsum(-1)
    target = uniforms.double() * ends[:, -1]
    block = _first_above(ends, target)
    before = (ends - blocks).gather(-1, block[:, None])
    index = block[:, None] * _BLOCK + torch.arange(_BLOCK, device=weights.device)
    inside = weights.gather(-1, index.clamp(max=vocabulary - 1)).double()
    inside.masked_fill_(index >= vocabulary, 0)
    return block * _BLOCK + _first_above(inside.cumsum(-1), target - before[:, 0])


def _invert_nucleus(weights: torch.Tensor, uniforms: torch.Tensor, top_p: float) -> torch.Tensor:
    total = weights.sum(-1, keepdim=True)
    # the nucleus nearly always fits a shortlist, and a full sort of the vocabulary costs more than the model
    for size in (min(_SHORTLIST, weights.shape[-1]), weights.shape[-1]):
        values, tokens = weights.topk(size, dim=-1)
        ends = (values / total).double().cumsum(-1)
        if bool((ends[:, -1] >= top_p).all()):
            break
    kept = (ends - values / total) < top_p
    kept[:, 0] = True
    mass = torch.where(kept, values.double(), 0.0).cumsum(-1)
    place = _first_above(mass, uniforms.double() * mass[:, -1])
    return tokens.gather(-1, place[:, None])[:, 0]


def _first_above(ends: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Index (B,) of the first running sum (B, N) above the target, the last that has mass where rounding overshoots."""
    found = torch.searchsorted(ends, target[:, None].contiguous(), right=True)[:, 0]
    last = torch.searchsorted(ends, ends[:, -1:].contiguous())[:, 0]
    return torch.minimum(found, last)
