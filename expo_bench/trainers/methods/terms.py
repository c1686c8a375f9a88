"""The term beside the policy's: which chains it learns from, and its value."""

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod, Pass, Tools
from expo_bench.trainers.methods.chains import Chain, Group
from expo_bench.trainers.recipe_fields import RecipeFields


class TermSettings(Section):
    """weight * log pi(chain, answer | question), on chains that are no members of the group."""

    weight: float = Field(default=0.04, ge=0, validation_alias=AliasChoices("weight", "beta"))
    """0.04 is the best of ExP-GRPO's paper, which calls it beta; 0 is GRPO."""
    schedule: Literal["constant", "anneal"] = "constant"
    """anneal: linearly to 0 at the last step."""
    normalise: Literal["tokens", "sequence"] = "tokens"
    """Mean over the chain's tokens, as the policy term's 1/|o|, or their sum. The paper's choice is not known to us."""
    scope: Literal["all", "no_positive"] = "all"
    """no_positive: only groups whose own rollouts are all wrong."""
    warn_after: int = Field(default=10, ge=1)
    """Steps without a chain to learn from, before a warning."""
    share_every: int | None = Field(default=None, ge=1)
    """Steps between measurements of the term's share in the gradient, each a backward pass more; None: never."""


def filter_fault(filters: Collection[str], *, truncated: bool, reaches: bool | None, leaks: bool | None) -> str | None:
    """Return why a chain may not be learned from; None where it may. A truncated one never may."""
    if truncated:
        return "truncated"
    if "reaches_answer" in filters and not reaches:
        return "does not reach the answer"
    if "no_leak" in filters and leaks:
        return "leaks the answer"
    return None


def passes(one: Chain, filters: Collection[str]) -> bool:
    """Return whether the term may learn from this chain."""
    truncated = one.finish_reason == "length"
    return filter_fault(filters, truncated=truncated, reaches=one.is_right, leaks=one.leaks_answer) is None


def share_weights(group: Group, chains: Sequence[Chain], filters: Collection[str], scope: str) -> None:
    """Seat chains beside their group; those that pass the filter get equal shares of its term, the others 0."""
    group.seat(list(chains), "beside")
    solved = any(chain.is_right for chain in group.members)
    skipped = scope == "no_positive" and solved
    used = [] if skipped else [one for one in chains if passes(one, filters)]
    for one in chains:
        one.weight = 1.0 / len(used) if any(one is other for other in used) else 0.0


class TermMethod(OnlineMethod):
    """GRPO, and a term beside it; a method says which chains it learns from."""

    section = "expo"
    Settings: ClassVar[type[Section]] = TermSettings

    def __init__(self, settings: Any, tools: Tools) -> None:
        super().__init__(settings, tools)
        self._idle_steps = 0

    @classmethod
    def check(cls, recipe: RecipeFields) -> None:
        """See that the term is that of the policy itself; see `Method.check`."""
        settings: Any = recipe.settings
        if settings.weight > 0 and recipe.temperature != 1:
            raise ValueError(
                f"{recipe.method} wants temperature 1: TRL divides the logits by it, and the term would be "
                "that of another policy"
            )

    def filters(self) -> Collection[str]:
        """Return what a chain must pass; that it is whole goes without saying."""
        return ()

    def seat_beside(self, group: Group, chains: Sequence[Chain]) -> None:
        """Seat the own completions in the group, and the chains beside it."""
        super().seat(group)
        share_weights(group, chains, self.filters(), self.settings.scope)

    def coefficient(self) -> float:
        """Return the weight of this step."""
        weight: float = self.settings.weight
        return weight * (1 - self.tools.progress if self.settings.schedule == "anneal" else 1)

    def weighs_term(self) -> bool:
        """Tell whether it is a step of `share_every`; see `OnlineMethod`."""
        every = self.settings.share_every
        return bool(every) and self.tools.step % every == 0

    def term(self, done: Pass) -> Any:
        """Return the chains' likelihood."""
        return likelihood(done, self.settings.normalise)

    def warning(self, groups: Sequence[Group]) -> str | None:
        """Tell where no chain could be learned from, each time that `warn_after` such steps have passed."""
        if not self.settings.weight:
            return None
        used = any(chain.weight for group in groups for chain in group.beside)
        self._idle_steps = 0 if used else self._idle_steps + 1
        if not self._idle_steps or self._idle_steps % self.settings.warn_after:
            return None
        return (
            f"no chain has passed the filter for {self._idle_steps} steps; training goes on as GRPO "
            f"(the filter is {', '.join(self.filters()) or 'empty'})"
        )


def likelihood(done: Pass, normalise: str) -> Any:
    """Return the sum of w * log pi(chain | question) over the chains beside a pass, each a mean or a sum of tokens."""
    import torch

    sums = (done.beside_logprobs * done.beside_mask).sum(-1)
    lengths = done.beside_mask.sum(-1) if normalise == "tokens" else torch.ones_like(sums)
    weights = torch.tensor([one.weight for one in done.beside], device=sums.device)
    return (weights * sums / lengths).sum()


def divergence(done: Pass, shown: Sequence[Sequence[int]], normalise: str) -> Any:
    """Return minus the sum of w * JSD(policy that sees more || policy) over the chains beside a pass.

    The Jensen-Shannon divergence at equal weights of the two whole distributions at each token of the chain, a mean
    over its tokens or their sum (arXiv 2603.23871). The policy that sees more has no gradient. A chain at a time, and
    computed again on the way back: the distributions of all tokens are held for one chain only.

    Args:
        done: the pass.
        shown: the prompts that show more, one a chain.
        normalise: tokens or sequence.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    model = getattr(done.model, "module", done.model)

    def of(chain: Chain, prompt: Sequence[int]) -> Any:
        found = []
        for before in (prompt, chain.prompt_ids):
            ids = torch.tensor([[*before, *chain.token_ids]], device=done.beside_mask.device)
            with torch.set_grad_enabled(before is chain.prompt_ids and torch.is_grad_enabled()):
                logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(chain.token_ids) + 1).logits
            found.append(logits[0, :-1].float().log_softmax(-1))
        knowing, plain = found
        mixed = torch.logaddexp(knowing, plain) - torch.log(torch.tensor(2.0))
        each = 0.5 * (knowing.exp() * (knowing - mixed) + plain.exp() * (plain - mixed)).sum(-1)
        return each.mean() if normalise == "tokens" else each.sum()

    values = [
        (one.weight or 0) * checkpoint(of, one, prompt, use_reentrant=False)
        for one, prompt in zip(done.beside, shown, strict=True)
    ]
    return -torch.stack(values).sum()
