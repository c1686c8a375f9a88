"""A method's section of a recipe: where it stands, what it was called before, and what of `trl` is idle."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError, create_model

from expo_bench.settings import what_does_not_fit
from expo_bench.trainers.methods.base import Method
from expo_bench.trainers.methods.finding import find_method, method_names

_RATIOS = (
    "delta", "epsilon", "epsilon_high", "importance_sampling_level", "off_policy_mask_threshold",
    "sapo_temperature_neg", "sapo_temperature_pos",
)  # fmt: skip
"""Fields of TRL that act on the ratio of the policy to the one that drew."""


def name_of(method: type[Method]) -> str:
    """Return the name of a method's section."""
    return method.section or method.name()


def taken(method: type[Method], values: Mapping[str, Any], others: Collection[str]) -> dict[str, Any]:
    """Return the keys of a recipe with its method's section checked, as `settings`, and the method's defaults.

    Args:
        method: the recipe's.
        values: the recipe's keys.
        others: the keys that every recipe may have.

    Raises:
        ValueError: what does not fit in the section, or a section of another method; one line.
    """
    section, kept = name_of(method), dict(values)
    given = kept.pop(section, {})
    for key in ("expo", *kept):
        if key in kept and key in _sections() and (key == "expo" or key not in others):
            owners = ", ".join(_sections()[key])
            raise ValueError(f"{key} is the section of {owners}, not of {method.name()}: take it out")
    if isinstance(given, dict) and "measure_every" in given:
        # it stood in the section expo once, and concerns all online methods
        given = dict(given)
        kept.setdefault("measure_every", given.pop("measure_every"))
    # a model around it gives errors their place
    holder = create_model("Section", **{section: (method.Settings, ...)})  # type: ignore[call-overload]
    try:
        kept["settings"] = getattr(holder.model_validate({section: given}), section)
    except ValidationError as error:
        raise ValueError(what_does_not_fit(error, holder)[0]) from error
    return {**method.defaults, **kept}


def _sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in method_names():
        found.setdefault(name_of(find_method(name)), []).append(name)
    return found


def idle(trl: Collection[str], updates_per_batch: int, sampler: str) -> set[str]:
    """Return the fields of TRL that do nothing: the ratio is 1 while a batch of rollouts serves one update."""
    if updates_per_batch > 1:
        return set()
    # vLLM's own log-probabilities differ from the policy's even then
    heard = {"off_policy_mask_threshold"} if sampler == "vllm" else set()
    return set(trl) & set(_RATIOS) - heard
