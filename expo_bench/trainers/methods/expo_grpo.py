"""ExP-GRPO: GRPO, and self-explanations learned beside the group."""

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field

from expo_bench.settings import Several
from expo_bench.trainers.methods.base import Pass
from expo_bench.trainers.methods.chains import Draw, Group
from expo_bench.trainers.methods.terms import TermMethod, TermSettings, divergence
from expo_bench.trainers.recipe_fields import RecipeFields


class ExpoGrpo(TermMethod):
    """The policy explains the gold answer to itself, and learns to write that explanation without having seen it.

    J = J_GRPO + weight(step) * mean over the step's groups of sum_i w_i l_i, with l_i the log-probability of
    self-explanation i under the solve prompt, a mean over its tokens or their sum, and w_i equal shares among those of
    a group that pass the filter (0 if none does). An explanation is no member of the group: it has no advantage and
    changes none. With weight 0 it is GRPO, and nothing is explained.

    `loss: jsd` puts minus the Jensen-Shannon divergence between the policy that sees the answer and the one that does
    not in the place of l_i; with `scope: no_positive` that is HDPO (arXiv 2603.23871), whose weight is not known to us
    and which keeps the 64 likeliest tokens where here all are compared.

    Source: arXiv 2507.02834; its prompt, filter and normalisation are not known to us.
    """

    class Settings(TermSettings):
        """The term, and the chains that it learns from."""

        loss: Literal["nll", "jsd"] = "nll"
        """What is learned of an explanation: its tokens, or the distributions of the policy that saw the answer."""
        policy: Literal["step", "refreshed", "base"] = "step"
        """Who explains: the policy of the step, its copy of every `refresh_every` steps, or the base."""
        refresh_every: int = Field(default=10, ge=1)
        per_problem: int = Field(default=1, ge=1)
        """Self-explanations of a problem; those that pass the filter share its weight."""
        filter: Several[Literal["reaches_answer", "no_leak"]] = ("reaches_answer",)
        """What a chain must pass; the paper's filter is not known to us. Truncated chains never pass."""

    @classmethod
    def check(cls, recipe: RecipeFields) -> None:
        """See that the recipe fits; see `Method.check`."""
        super().check(recipe)
        settings: Any = recipe.settings
        if settings.weight and settings.policy != "step" and recipe.sampler != "slots":
            raise ValueError(
                f"expo.policy {settings.policy} needs sampler slots: {recipe.sampler} holds the policy of the step only"
            )
        if settings.weight and settings.policy == "refreshed" and recipe.checkpoint_every % settings.refresh_every:
            raise ValueError("save_every must be a multiple of expo.refresh_every, or a resumed run would differ")
        if settings.weight and settings.per_problem > recipe.num_generations:
            raise ValueError("expo.per_problem may not exceed num_generations")

    @classmethod
    def drawn_at_most(cls, settings: Any, num_generations: int) -> dict[str, int]:
        """Return what is drawn for a problem; see `OnlineMethod`."""
        explained = {"self_explanation": settings.per_problem} if settings.weight else {}
        return {"own": num_generations, **explained}

    @classmethod
    def beside_at_most(cls, settings: Any) -> int:
        """Return the explanations that are learned from; see `OnlineMethod`."""
        return settings.per_problem if settings.weight else 0

    @classmethod
    def writer(cls, settings: Any) -> tuple[str, int]:
        """Return who explains; see `OnlineMethod`."""
        return settings.policy, settings.refresh_every

    def draws(self, group: Group) -> list[Draw]:
        """Return the own completions, and the explanations."""
        found = super().draws(group)
        if self.settings.weight:
            explain = Draw(
                source="self_explanation",
                prompt_ids=self.tools.explain_ids(group.problem),
                n=self.settings.per_problem,
                purpose="explain",
                learned_ids=self.tools.solve_ids(group.problem),
                drawn_under="explain",
                by_writer=True,
            )
            found.append(explain)
        return found

    def filters(self) -> Collection[str]:
        """Return the recipe's filter."""
        found: Collection[str] = self.settings.filter
        return found

    def seat(self, group: Group) -> None:
        """Seat the own completions in the group, and the explanations beside it."""
        self.seat_beside(group, group.of("self_explanation"))

    def term(self, done: Pass) -> Any:
        """Return the explanations' likelihood, or minus their divergence."""
        if self.settings.loss == "nll":
            return super().term(done)
        shown = [self.tools.explain_ids(self.tools.problem(one.index)) for one in done.beside]
        return divergence(done, shown, self.settings.normalise)
