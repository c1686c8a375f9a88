"""LUFFY: a guest in the group, a chain that the policy did not write for this question."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, ClassVar, Literal

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.settings import Several
from expo_bench.trainers.methods.base import OnlineMethod, Pass, known, told
from expo_bench.trainers.methods.chains import Chain, Draw, Group
from expo_bench.trainers.methods.terms import passes
from expo_bench.trainers.recipe_fields import RecipeFields


class Luffy(OnlineMethod):
    """One place of each group is an expert's, or with `guest: self_explanation` one written with the answer in sight.

    A_i = R_i - mean over all members, the guest among them. Own chains have the ratio to the policy that drew, without
    clipping; a guest's token has f(p) = p / (p + gamma) in the place of the ratio, so that the gradient of log p has
    the factor gamma p / (p + gamma)^2, which is greatest at p = gamma. Each token counts 1 / (G * max_tokens). A group
    whose guest is missing, cut off or fails the filter has an own completion in its place.

    Source: arXiv 2504.14945, which divides by the padded length where here it is `max_tokens`. Self-explanations as
    guests are not in it.
    """

    class Settings(Section):
        """Who the guest is, and how its tokens count."""

        guest: Literal["expert", "self_explanation"] = "expert"
        gamma: float = Field(default=0.1, gt=0)
        filter: Several[Literal["reaches_answer", "no_leak"]] = ("reaches_answer",)
        """What a guest must pass."""

    trl: ClassVar[Mapping[str, Any]] = {
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
        "epsilon": 1e6,
        "entropy_coef": 0.001,
    }
    defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 2}

    @classmethod
    def needs_solutions(cls, recipe: RecipeFields) -> bool:
        """Tell whether the guest is an expert; see `Method`."""
        settings: Any = recipe.settings
        return bool(settings.guest == "expert")

    @classmethod
    def drawn_at_most(cls, settings: Any, num_generations: int) -> dict[str, int]:
        """Return what is drawn for a problem; see `OnlineMethod`."""
        explained = {"self_explanation": 1} if settings.guest == "self_explanation" else {}
        return {"own": num_generations, **explained}

    def draws(self, group: Group) -> list[Draw]:
        """Return the own completions, one less than a group has, and the guest where it is drawn."""
        found = [self.own(group, self.tools.num_generations - 1)]
        if self.settings.guest == "self_explanation":
            guest = Draw(
                source="self_explanation",
                prompt_ids=self.tools.explain_ids(group.problem),
                n=1,
                purpose="explain",
                learned_ids=self.tools.solve_ids(group.problem),
                drawn_under="explain",
            )
            found.append(guest)
        return found

    def draws_again(self, group: Group) -> list[Draw]:
        """Return one more own completion where there is no guest."""
        if self.settings.guest == "expert" and not group.of("expert"):
            expert = self.tools.expert(group)
            group.chains += [expert] if expert else []
        full = len(group.of("own")) == self.tools.num_generations
        return [] if full or self._guest(group) else [self.own(group, 1)]

    def seat(self, group: Group) -> None:
        """Seat the own completions, and the guest."""
        guest = self._guest(group)
        if guest is not None:
            guest.weight = None
        group.seat([*group.of("own"), *([guest] if guest else [])])

    def _guest(self, group: Group) -> Chain | None:
        found = group.of(self.settings.guest)
        return found[0] if found and passes(found[0], self.settings.filter) else None

    def advantages(self, rewards: Sequence[float | None]) -> list[float] | None:
        """Return R - mean."""
        middle = mean(known(rewards) or [0.0])
        return told(rewards, lambda reward: reward - middle)

    def has_no_ratio(self, chain: Chain) -> bool:
        """Tell whether it is a guest."""
        return chain.source != "own"

    def token_advantages(self, done: Pass, advantages: Any) -> Any:
        """Return the advantages, a guest's tokens weighted by gamma p / (p + gamma)^2."""
        import torch

        p, gamma = done.logprobs.exp(), self.settings.gamma
        guests = torch.tensor([[self.has_no_ratio(one)] for one in done.members], device=p.device)
        return advantages[:, None] * torch.where(guests, gamma * p / (p + gamma) ** 2, torch.ones_like(p))

    def adds_advantages(self) -> bool:
        """Tell that a guest's weights multiply its advantage."""
        return False
