"""A training run's recipe: one YAML file a run, unknown keys refused, checked by its method."""

from typing import Any, Self

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from expo_bench.errors import did_you_mean
from expo_bench.problems import BENCHMARKS
from expo_bench.settings import Settings
from expo_bench.trainers import sections
from expo_bench.trainers.methods.base import OnlineMethod
from expo_bench.trainers.methods.finding import find_method, method_names
from expo_bench.trainers.methods.rounds import RoundsMethod
from expo_bench.trainers.recipe_fields import RecipeFields


class Recipe(RecipeFields):
    """All that decides a training run. `recipe.yaml` of its folder holds it, resolved."""

    @model_validator(mode="before")
    @classmethod
    def _all_of_an_own_file(cls, values: Any) -> Any:
        own = isinstance(values, dict) and values.get("benchmark", "micro") not in BENCHMARKS
        return {"split": None, **values} if own else values

    @model_validator(mode="before")
    @classmethod
    def _of_method(cls, values: Any) -> Any:
        """Take the method's section as its settings, and its defaults where the recipe says nothing."""
        if not isinstance(values, dict) or isinstance(values.get("settings"), Settings):
            return values
        name = values.get("method")
        if name is None:
            return values
        if name not in method_names():
            near = did_you_mean(str(name), method_names())
            raise ValueError(f"method: {name!r} is none of {', '.join(method_names())}{near}")
        if not find_method(name).is_online:
            return values
        return sections.taken(find_method(name), values, set(cls.model_fields))

    @model_serializer(mode="wrap")
    def _with_section(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        settings = values.pop("settings", None)
        if self.is_online:
            values.pop("expo", None)
            if settings:
                values[sections.name_of(self.of_method)] = settings
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.is_online:
            self._check_online()
        elif self.updates_per_batch > 1:
            raise ValueError(f"minibatches and iterations belong to methods that draw at every step, not {self.method}")
        if self.steps % self.rounds:
            raise ValueError(f"steps ({self.steps}) must be a multiple of rounds ({self.rounds})")
        if not self.is_online:
            self.of_rounds.check(self)
        return self

    def _check_online(self) -> None:
        if self.num_generations < 2:
            raise ValueError("num_generations must be 2 at least: an advantage is a difference within a group")
        for section in ("preference", "still"):
            if section in self.model_fields_set and getattr(self, section) is not None:
                raise ValueError(f"{section} does nothing in {self.method}: take {section} out")
        if self.rounds > 1:
            raise ValueError(f"rounds belong to methods that are not online: {self.method} draws at every step")
        every = self.updates_per_batch
        for key, steps in (("steps", self.steps), ("save_every", self.checkpoint_every)):
            if steps % every:
                own = ", ".join(f"{name} {value}" for name, value in self.of_method.defaults.items())
                raise ValueError(
                    f"{key} ({steps}) must be a multiple of minibatches * iterations ({every}): a batch of rollouts "
                    "serves so many steps, and a run goes on at its beginning"
                    + (f"; {self.method} has {own} where the recipe says nothing" if own else "")
                )
        idle = sorted(sections.idle(self.trl, every, self.sampler))
        if idle:
            raise ValueError(
                f"trl.{idle[0]} does nothing while a batch of rollouts serves one update: set minibatches or iterations"
            )
        self.of_method.check(self)

    def prefers(self, number: int) -> bool:
        """Return whether round `number` is one of DPO; else it is one of SFT."""
        return not self.is_online and self.of_rounds.prefers(self, number)

    @property
    def is_online(self) -> bool:
        """Whether the method draws at every step."""
        return find_method(self.method).is_online

    @property
    def of_rounds(self) -> type[RoundsMethod]:
        """The class of a method in rounds."""
        found = find_method(self.method)
        assert issubclass(found, RoundsMethod)
        return found

    @property
    def of_method(self) -> type[OnlineMethod]:
        """The class of an online method."""
        found = find_method(self.method)
        assert issubclass(found, OnlineMethod)
        return found
