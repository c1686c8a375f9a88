"""NuRL: where no completion is right, the policy gives itself an abstract hint."""

from typing import Any

from pydantic import Field

from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.base import OnlineMethod
from expo_bench.trainers.methods.chains import Draw, Group
from expo_bench.trainers.methods.hints import ABSTRACT, hint_draw, hinted, is_unsolved, under


class Nurl(OnlineMethod):
    """A group without a right completion is drawn once more, all but one under a hint written with the answer in sight.

    The hint names an idea, never the answer. G - 1 hinted completions and one bare one make the group; each is learned
    under the prompt that it was drawn under, or with `keep_hint: false` under the question alone. GRPO's advantages.

    Source: arXiv 2509.25666, as excerpts of it tell: hints are made beforehand by the first policy, and hinting begins
    when GRPO does not get better any more (`from_progress`). Its prompts are not known to us.
    """

    class Settings(Section):
        """When and how to hint."""

        from_progress: float = Field(default=0.0, ge=0, le=1)
        """Share of the run after which there are hints."""
        keep_hint: bool = True
        """Whether the hint stays in the prompt that is learned."""

    @classmethod
    def drawn_at_most(cls, settings: Any, num_generations: int) -> dict[str, int]:
        """Return what is drawn for a problem; see `OnlineMethod`."""
        return {"own": num_generations, "hint": 1, "hinted": num_generations - 1}

    def draws_again(self, group: Group) -> list[Draw]:
        """Return a hint, then the hinted completions."""
        if not is_unsolved(group) or group.of("hinted") or self.tools.progress < self.settings.from_progress:
            return []
        hints = group.of("hint")
        if not hints:
            return [hint_draw(self.tools, group.problem, ABSTRACT)]
        problem, n = hinted(group.problem, hints[0].text), self.tools.num_generations - 1
        return [under(self.tools, group, problem, n, kept=self.settings.keep_hint, name="hinted")]

    def seat(self, group: Group) -> None:
        """Seat the hinted completions where there are some."""
        second = group.of("hinted")
        group.seat([*group.of("own")[:1], *second] if second else group.of("own"))
