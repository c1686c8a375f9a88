"""A case for each online method, and for each of its branches: which chains are right decides what it does."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from expo_bench.trainers.methods.chains import Chain
from expo_bench.trainers.methods.finding import find_method
from expo_bench.trainers.recipe import Recipe


def even(chain: Chain) -> bool:
    return chain.sample_index % 2 == 0


def hinted(attempt: int) -> Callable[[Chain], bool]:
    """Right are some of the completions under a hint, in this attempt only."""
    return lambda chain: chain.source == "hinted" and chain.attempt == attempt and even(chain)


OWN = frozenset({("own", "member")})
GUEST = {("self_explanation", "member")}


class Case(NamedTuple):
    """A method, its section, which chains are right, and what its rollouts must be for the case to say anything."""

    method: str
    section: Mapping[str, Any] = MappingProxyType({})
    is_right: Callable[[Chain], bool] = even
    seen: Collection[tuple[str, str]] = OWN


CASES = {
    "grpo": Case("grpo"),
    "expo_grpo": Case("expo_grpo", {"weight": 0.3}, seen=OWN | {("self_explanation", "beside")}),
    "hdpo": Case(
        "expo_grpo",
        {"weight": 0.3, "loss": "jsd", "scope": "no_positive", "per_problem": 4},
        lambda one: one.source != "own",
        OWN | {("self_explanation", "beside")},
    ),
    "grpo_expert": Case("grpo_expert", {"weight": 0.3, "normalise": "sequence"}, seen=OWN | {("expert", "beside")}),
    "dr_grpo": Case("dr_grpo"),
    "gspo": Case("gspo"),
    "dapo": Case("dapo", {}, lambda one: one.attempt == 1 and even(one), OWN | {("own", "discarded")}),
    "maxrl": Case("maxrl", {}, lambda one: one.sample_index == 0),
    "pass_at_k": Case("pass_at_k", {"k": 2}),
    "pkpo": Case("pkpo", {"k": 3}),
    "unlikeliness": Case("unlikeliness"),
    "luffy": Case("luffy", seen=OWN | {("expert", "member")}),
    "luffy-explained": Case("luffy", {"guest": "self_explanation", "gamma": 1.0}, seen=OWN | GUEST),
    "questa": Case("questa"),
    "pope": Case("pope"),
    "nurl": Case("nurl", {}, hinted(2), {("own", "discarded"), ("hint", "discarded"), ("hinted", "member")}),
    "nurl-bare": Case("nurl", {"keep_hint": False}, hinted(2), {("own", "discarded"), ("hinted", "member")}),
    "sage": Case("sage", {}, hinted(4), {("own", "discarded"), ("hinted", "discarded"), ("hinted", "member")}),
    "ghpo": Case("ghpo", {}, hinted(2), {("own", "discarded"), ("hinted", "discarded"), ("hinted", "member")}),
    "opsd": Case("opsd", {"privilege": "answer"}),
    "sdpo": Case("sdpo", {"reward": True}),
    "grpo_masked": Case("grpo_masked", {}, lambda one: one.group == 1 or even(one)),
}
UNDER = {
    "questa": {"prefix"}, "pope": {"prefix", "solve"}, "ghpo": {"prefix"}, "nurl": {"solve", "hinted"},
    "sage": {"hinted"},
}  # fmt: skip
"""Prompts that members are learned under, where it is not the question alone."""


def recipe_of(case: str, **settings: Any) -> Recipe:
    """Two batches of rollouts; with AdamW's epsilon above all gradients, a difference stays as small as it is."""
    method, section, *_ = CASES[case]
    kind = find_method(method)
    # two are several
    minibatches = min(2, kind.defaults.get("minibatches", 1))
    updates = minibatches * kind.defaults.get("iterations", 1)
    values = {
        "method": method, "model": "micro", "benchmark": "micro", "levels": (1, 2), "limit": 8,
        "steps": 2 * updates, "save_every": updates, "prompts_per_step": 2, "num_generations": 4, "max_tokens": 22,
        "minibatches": minibatches, "measure_every": 1000, "learning_rate": 1.0,
        "trl": {"adam_epsilon": 100.0, "max_grad_norm": 1e6, **({"entropy_coef": 0.0} if method == "luffy" else {})},
        **settings,
    }  # fmt: skip
    return Recipe.model_validate(values | ({kind.section or method: section} if section else {}))
