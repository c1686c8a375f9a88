"""Gradients of the log-probabilities of chains, one problem at a time.

For a chain c (its text up to and with the opening of the answer slot) and the gold answer a*,
grad J = E_{c ~ pi(.|q)}[f(c) grad log pi(c|q) + grad f(c)] = E[f(c) h(c)], h(c) = grad log pi(c, a*|q), f = pi(a*|q,c).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.resampling import Floats
from expo_bench import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Distinct token ids of a problem, and who wrote them."""

    candidate_id: str
    source: str
    count: int
    """How many of the source's candidates are these ids."""
    reaches_answer: bool
    ids: tuple[int, ...]
    """The whole candidate, its own answer and end of turn included."""
    cut: tuple[int, ...]
    """Without its own answer, with the opening of the slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemGradients:
    """Inner products of N chains' gradients; g is of log pi(candidate|q), h of log pi(c, a*|q)."""

    chains: tuple[Chain, ...]
    log_p: Floats
    """log pi(candidate|q), shape (N,)."""
    log_chain: Floats
    """log pi(c|q), the slot's opening included, shape (N,)."""
    log_answer: Floats
    """log pi(a*|q,c), shape (N,)."""
    norms: Floats
    """||g||, shape (N,)."""
    cross: Floats
    """<g_i, h_j>, shape (N, N)."""
    joint: Floats
    """<h_i, h_j>, shape (N, N)."""


def chosen_parameters(model: Any, pattern: str) -> list[torch.nn.Parameter]:
    """Return the parameters whose name the pattern is found in, and stop gradients of all others.

    Raises:
        UserError: no name matches, or the pattern is no regular expression.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--layers {pattern!r} is no regular expression: {error}") from error
    chosen = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(bool(wanted.search(name)))
        if parameter.requires_grad:
            chosen.append(parameter)
    if not chosen:
        raise UserError(f"--layers {pattern!r} matches no parameter; one is {name}")
    return chosen


def token_logprobs(model: Any, prompt: Sequence[int], ids: Sequence[int]) -> torch.Tensor:
    """Return log pi of each id after the prompt, in nats, shape (len(ids),), differentiable."""
    rows = torch.tensor([[*prompt, *ids[:-1]]], device=model.device)
    logits = model(input_ids=rows, use_cache=False, logits_to_keep=len(ids)).logits[0]
    if logits.dtype != torch.float64:
        logits = logits.float()
    taken = torch.tensor(ids, device=model.device)
    logprobs: torch.Tensor = logits.log_softmax(-1).gather(-1, taken[:, None])[:, 0]
    return logprobs


def flat_gradient(logprob: torch.Tensor, parameters: Sequence[torch.nn.Parameter]) -> torch.Tensor:
    """Return the gradient of a scalar, all parameters behind each other, shape (D,)."""
    parts = torch.autograd.grad(logprob, parameters, allow_unused=True)
    return torch.cat(
        [
            torch.zeros(own.numel(), dtype=own.dtype) if part is None else part.reshape(-1).cpu()
            for own, part in zip(parameters, parts, strict=True)
        ]
    )


def problem_gradients(
    model: Any,
    parameters: Sequence[torch.nn.Parameter],
    prompt: Sequence[int],
    chains: Sequence[Chain],
    answer: Sequence[int],
) -> tuple[ProblemGradients, torch.Tensor]:
    """Return the inner products of all chains of a problem, and g itself, shape (N, D).

    Args:
        model: the policy, in evaluation mode.
        parameters: from `chosen_parameters`, D numbers in all.
        prompt: token ids of the solve prompt.
        chains: distinct ones.
        answer: token ids of a* and its closing brace.
    """
    g, h, log_p, log_chain, log_answer = [], [], [], [], []
    for chain in chains:
        whole = token_logprobs(model, prompt, chain.ids).sum()
        g.append(flat_gradient(whole, parameters))
        joint = token_logprobs(model, prompt, (*chain.cut, *answer))
        h.append(flat_gradient(joint.sum(), parameters))
        log_p.append(whole.item())
        log_chain.append(joint[: len(chain.cut)].sum().item())
        log_answer.append(joint[len(chain.cut) :].sum().item())
    left, right = torch.stack(g), torch.stack(h)
    products = ProblemGradients(
        chains=tuple(chains),
        log_p=np.array(log_p),
        log_chain=np.array(log_chain),
        log_answer=np.array(log_answer),
        norms=torch.linalg.vector_norm(left, dim=1, dtype=torch.float64).numpy(),
        cross=(left @ right.T).double().numpy(),
        joint=(right @ right.T).double().numpy(),
    )
    return products, left


def enumerated_weights(found: ProblemGradients) -> Floats:
    """Return log of pi(c|q) f(c), shape (N,): grad J as a sum over the chains at hand, exact but for those missing.

    A chain that comes with several own answers is counted once.
    """
    cuts = [chain.cut for chain in found.chains]
    first = np.array([cuts.index(cut) == at for at, cut in enumerate(cuts)])
    return np.where(first, found.log_chain + found.log_answer, -np.inf)


def own_weights(found: ProblemGradients, *, without: int | None = None) -> Floats:
    """Return log of f(c) n(c) / K, shape (N,): grad J from own chains, where chain c was drawn n(c) times of K.

    Args:
        found: the problem's chains; those of other sources get -inf.
        without: a chain of which one draw is left out, so that the estimate does not depend on the draw it is
            compared with.
    """
    counts = np.array([chain.count if chain.source.startswith("own") else 0 for chain in found.chains], dtype=float)
    if without is not None and counts[without]:
        counts[without] -= 1
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(counts) - np.log(counts.sum()) + found.log_answer) if counts.sum() else counts - np.inf
