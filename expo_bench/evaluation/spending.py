"""What a run costs where tokens have prices, as those of a server have; a limit at which it stops.

Completions are counted as the engine counts them, prompts as the server's `usage` does. Where that has none, or for
samples of an earlier command, they are reckoned at four characters a token, once a sample, times what the told teach.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from expo_bench.config import EvalConfig
from expo_bench.errors import UserError
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem, Sample

CHARACTERS = 4
"""Of a prompt's token, about."""
_MILLION = 1_000_000
_STEPS = 10


def prompt_tokens(prompt: Prompt, problems: Sequence[Problem]) -> dict[str, int]:
    """Return about how many tokens the prompt of each problem has, by its id."""
    return {
        problem.problem_id: sum(len(message["content"]) for message in prompt.messages(problem)) // CHARACTERS + 1
        for problem in problems
    }


def money(config: EvalConfig, n_prompt: int, n_completion: int) -> float | None:
    """Return the price of so many tokens; None where none is given."""
    if config.price_in is None and config.price_out is None:
        return None
    return ((config.price_in or 0.0) * n_prompt + (config.price_out or 0.0) * n_completion) / _MILLION


class Spending:
    """Counts what the samples of a run cost, those of earlier commands included."""

    def __init__(
        self,
        config: EvalConfig,
        prompts: dict[str, int],
        note: Callable[[str], None],
        told: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        """Begin at nothing.

        Args:
            config: has the prices and the limit.
            prompts: about how many tokens each problem's prompt has.
            note: called with what the user should know.
            told: problem and sample -> tokens of its prompt as a server counted them; may grow meanwhile.
        """
        self._config, self._prompts, self._note, self._counted = config, prompts, note, {} if told is None else told
        self._told = 0
        self._known = self._known_guess = self._guess = 0
        self.n_completion = 0

    @property
    def n_prompt(self) -> int:
        """Tokens of all prompts."""
        return self._known + round(self._guess * (self._known / self._known_guess if self._known_guess else 1))

    def count(self, samples: Iterable[Sample]) -> None:
        """Count samples that are there."""
        for sample in samples:
            guess = self._prompts.get(sample.problem_id, 0)
            known = self._counted.get((sample.problem_id, sample.sample_index))
            if known is None:
                self._guess += guess
            else:
                self._known += known
                self._known_guess += guess
            self.n_completion += sample.n_tokens or 0

    def add(self, sample: Sample) -> None:
        """Count a new sample.

        Raises:
            UserError: the limit is reached; the sample is on disk.
        """
        self.count([sample])
        spent, limit = money(self._config, self.n_prompt, self.n_completion), self._config.max_cost
        if spent is None or limit is None:
            return
        if spent >= limit:
            raise UserError(
                f"stopped: {spent:.4g} are spent, and max_cost is {limit:g}; what was drawn is saved, and the same "
                "command with a greater --max-cost goes on"
            )
        step = int(_STEPS * spent / limit)
        if step > self._told:
            self._told = step
            self._note(f"spent {spent:.4g} of at most {limit:g}")

    def described(self) -> dict[str, Any] | None:
        """Return what the manifest records; None where tokens have no price."""
        spent = money(self._config, self.n_prompt, self.n_completion)
        if spent is None:
            return None
        prices = {"price_in": self._config.price_in, "price_out": self._config.price_out}
        how = f"{CHARACTERS} characters a token" if self._guess else "the server"
        if self._guess and self._known:
            how = "the server, and for samples of earlier commands in proportion"
        counts = {"prompt_tokens": self.n_prompt, "prompts_by": how, "completion_tokens": self.n_completion}
        return {**prices, **counts, "money": spent}
