"""What a method of training is: a class in a file of its own, with its settings, its documentation and its hooks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from expo_bench.rows import Problem
from expo_bench.settings import Settings as Section
from expo_bench.trainers.methods.chains import Chain, Draw, Group
from expo_bench.trainers.recipe_fields import RecipeFields


class Method:
    """What is common to all methods; the docstring of one tells its idea, its formula and its source."""

    Settings: ClassVar[type[Section]] = Section
    """Its section of the recipe."""
    section: ClassVar[str | None] = None
    """The recipe's section that holds the settings; None: it has the method's name."""
    trl: ClassVar[Mapping[str, Any]] = {}
    """Fields of TRL's configuration that belong to the method; the recipe's section `trl` goes over them."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Keys of the recipe that belong to the method; what the recipe says itself goes over them."""
    is_online: ClassVar[bool] = False
    """Whether it draws at every step."""

    @classmethod
    def name(cls) -> str:
        """Return the method's name, which is its file's."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def summary(cls) -> str:
        """Return the idea in a line: the first of the docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @classmethod
    def needs_solutions(cls, recipe: RecipeFields) -> bool:
        """Tell whether it would do nothing of its own on problems without solutions."""
        return False

    @classmethod
    def explains(cls, recipe: RecipeFields) -> bool:
        """Tell whether the recipe's `explain_prompt` is shown to anybody."""
        return False

    @classmethod
    def check(cls, recipe: RecipeFields) -> None:
        """See that the recipe fits the method.

        Raises:
            ValueError: it does not; one line.
        """


class Tools(Protocol):
    """What a method of the online family is given."""

    num_generations: int
    max_tokens: int
    """Of a completion."""

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        ...

    @property
    def progress(self) -> float:
        """Share of the run's steps that is taken, 0 to 1."""
        ...

    def problem(self, index: int) -> Problem:
        """Return a training problem."""
        ...

    def solve_ids(self, problem: Problem) -> list[int]:
        """Return the solve prompt of a problem, as token ids; what a method adds to its question is shown there."""
        ...

    def explain_ids(self, problem: Problem) -> list[int]:
        """Return the prompt that shows the gold answer."""
        ...

    def ids(self, problem: Problem, user: str) -> list[int]:
        """Return a prompt of a method's own; `user` holds {question}, and {answer} where that is shown."""
        ...

    def expert(self, group: Group) -> Chain | None:
        """Return the benchmark's solution of the problem as a chain; None where there is none."""
        ...

    def score(self, chains: Sequence[Chain], prompts: Sequence[Sequence[int]]) -> list[Any]:
        """Return the log-probabilities of each chain's tokens under a prompt each, without gradients.

        Every process must call it as often as the others; with nothing to score it is called with nothing.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Pass:
    """The rows of one forward pass of the loss: tensors, on the policy's device."""

    members: list[Chain]
    logprobs: Any
    """(B, T), without gradient, of the members' tokens."""
    mask: Any
    """(B, T), 1 where a token is the member's."""
    model: Any = None
    """The policy, as the trainer wraps it."""
    beside: list[Chain]
    beside_logprobs: Any = None
    """(N, T'), with gradient; None where no chain is beside these members."""
    beside_mask: Any = None


class OnlineMethod(Method):
    """Draws at every step. The hooks stand in the order in which the trainer calls them; these are GRPO's.

    A hook that is not overridden costs nothing. Those with groups are called for the groups of one process.
    """

    is_online = True
    most_attempts: int = 1
    """Problems that may stand in one place of a step, one after the other."""

    def __init__(self, settings: Any, tools: Tools) -> None:
        self.settings, self.tools = settings, tools

    @classmethod
    def explains(cls, recipe: RecipeFields) -> bool:
        """Tell whether self-explanations are drawn; see `Method`."""
        return "self_explanation" in cls.drawn_at_most(recipe.settings, recipe.num_generations)

    @classmethod
    def drawn_at_most(cls, settings: Any, num_generations: int) -> dict[str, int]:
        """Return how many completions are drawn for one place of a step at most, by their source."""
        return {"own": num_generations}

    @classmethod
    def beside_at_most(cls, settings: Any) -> int:
        """Return how many chains beside a group are learned from at most."""
        return 0

    @classmethod
    def writer(cls, settings: Any) -> tuple[str, int]:
        """Return who writes what is drawn `by_writer`: step, refreshed or base; and after how many steps afresh."""
        return "step", 1

    def own(self, group: Group, n: int) -> Draw:
        """Return n completions of the solve prompt."""
        return Draw(source="own", prompt_ids=self.tools.solve_ids(group.problem), n=n, purpose="own")

    def draws(self, group: Group) -> list[Draw]:
        """Return what to draw for a problem."""
        return [self.own(group, self.tools.num_generations)]

    def replaces(self, group: Group) -> bool:
        """Tell whether another problem shall take the place of this one, whose completions are judged."""
        return False

    def draws_again(self, group: Group) -> list[Draw]:
        """Return what to draw of the same problem after its completions were judged; nothing ends it."""
        return []

    def seat(self, group: Group) -> None:
        """Give the chains their roles; exactly `num_generations` must be members."""
        group.seat(group.of("own"))

    def prepare(self, groups: Sequence[Group]) -> None:
        """Score what the loss will need, without gradients."""

    def counts(self, group: Group) -> bool:
        """Tell whether the members' tokens enter the loss at all, the divergence from the reference included."""
        return True

    def rewards(self, group: Group) -> list[float | None]:
        """Return the members' rewards; None where nobody can tell."""
        return [chain.reward for chain in group.members]

    def advantages(self, rewards: Sequence[float | None]) -> list[float] | None:
        """Return the advantages of one group from its rewards; None: TRL's, (R - mean) / (std + 1e-4)."""
        return None

    def token_advantages(self, done: Pass, advantages: Any) -> Any:
        """Return the advantages (B,) of a pass as they are, or one for each token (B, T)."""
        return advantages

    def adds_advantages(self) -> bool:
        """Tell whether `token_advantages` may pull at a row whose advantage is 0, which must then go through a pass."""
        return type(self).token_advantages is not OnlineMethod.token_advantages

    def has_no_ratio(self, chain: Chain) -> bool:
        """Tell whether a member, not being the policy's own, is learned without ratio and clipping."""
        return False

    def coefficient(self) -> float:
        """Return the strength of the term beside the policy's; 0: none."""
        return 0.0

    def weighs_term(self) -> bool:
        """Tell whether the share of the term in this step's gradient is measured; it costs a backward pass more."""
        return False

    def term(self, done: Pass) -> Any:
        """Return the sum over the chains beside a pass of what is to grow; the trainer divides by the groups."""
        raise NotImplementedError

    def warning(self, groups: Sequence[Group]) -> str | None:
        """Return what the user must be told of this step."""
        return None


def known(rewards: Sequence[float | None]) -> list[float]:
    """Return the rewards that somebody can tell."""
    return [one for one in rewards if one is not None]


def told(rewards: Sequence[float | None], of: Callable[[float], float]) -> list[float]:
    """Return the advantage of each reward; 0 where nobody can tell the reward."""
    return [0.0 if one is None else float(of(one)) for one in rewards]
