"""What a recipe sets although its method does not read it."""

from typing import Any

from expo_bench.trainers import sections
from expo_bench.trainers.methods.base import Method
from expo_bench.trainers.methods.terms import TermSettings
from expo_bench.trainers.recipe import Recipe

_DRAWN_WITH = ("sampler", "temperature", "num_generations")


def idle_keys(recipe: Recipe) -> dict[str, str]:
    """Return the keys that are not at their default and do nothing, each with the reason.

    What no recipe of the method could mean is refused when it is read; these are keys that another setting has put out
    of use, or that recipes of several methods share.
    """
    method: type[Method] = recipe.of_method if recipe.is_online else recipe.of_rounds
    found: dict[str, str] = {}
    if not method.explains(recipe):
        found["explain_prompt"] = f"{recipe.method} shows the answer in no prompt of it"
    if not recipe.is_online:
        found["measure_every"] = f"{recipe.method} does not draw at every step"
        if not recipe.of_rounds.sources:
            found |= dict.fromkeys(_DRAWN_WITH, f"{recipe.method} draws nothing")
    found = {key: why for key, why in found.items() if _is_set(recipe, key)}
    return found | (_of_section(recipe) | _of_ratio(recipe) if recipe.is_online else {})


def _is_set(values: Any, key: str) -> bool:
    # a resolved recipe names all values: only others than the default can be told from none
    return bool(getattr(values, key) != type(values).model_fields[key].default)


def _of_section(recipe: Recipe) -> dict[str, str]:
    settings: Any = recipe.settings
    name, found = sections.name_of(recipe.of_method), {}
    if isinstance(settings, TermSettings) and not settings.weight:
        found = dict.fromkeys(set(type(settings).model_fields) - {"weight"}, f"{name}.weight is 0")
    elif getattr(settings, "policy", "refreshed") != "refreshed":
        found = {"refresh_every": f"{name}.policy is {settings.policy}"}
    return {f"{name}.{key}": why for key, why in sorted(found.items()) if _is_set(settings, key)}


def _of_ratio(recipe: Recipe) -> dict[str, str]:
    keys = sorted(sections.idle(recipe.of_method.trl, recipe.updates_per_batch, recipe.sampler))
    why = f"{recipe.method} sets it, and a batch of rollouts serves one update, at which the ratio is 1"
    return {f"trl.{key}": why for key in keys}
