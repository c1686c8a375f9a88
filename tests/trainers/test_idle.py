import pytest
import yaml

from expo_bench.trainers.idle import idle_keys
from expo_bench.trainers.methods.finding import method_names
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.training import load_recipe, recipe_yaml

ONLY_THERE = {"still": {"still": {"thoughts": "micro"}}}


def recipe(method, **settings):
    given = {"method": method, "model": "micro", "benchmark": "micro", **ONLY_THERE.get(method, {})}
    return Recipe.model_validate({**given, **settings})


@pytest.mark.parametrize("method", method_names())
def test_nothing_is_idle_by_default(method):
    assert idle_keys(recipe(method)) == {}


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ({"method": "grpo", "explain_prompt": "my.txt", "measure_every": 3}, ["explain_prompt"]),
        ({"method": "expo_grpo", "explain_prompt": "my.txt"}, []),
        ({"method": "opsd", "explain_prompt": "my.txt"}, []),
        ({"method": "luffy", "explain_prompt": "my.txt"}, ["explain_prompt"]),
        ({"method": "luffy", "explain_prompt": "my.txt", "luffy": {"guest": "self_explanation"}}, []),
        ({"method": "star", "explain_prompt": "my.txt", "measure_every": 3}, ["measure_every"]),
        ({"method": "sft_expert", "temperature": 0.7, "num_generations": 4}, ["temperature", "num_generations"]),
        ({"method": "dpo_expert", "temperature": 0.7, "explain_prompt": "my.txt"}, ["explain_prompt"]),
        (
            {"method": "expo_grpo", "explain_prompt": "my.txt", "expo": {"weight": 0, "per_problem": 2}},
            ["explain_prompt", "expo.per_problem"],
        ),
        ({"method": "expo_grpo", "expo": {"refresh_every": 5}}, ["expo.refresh_every"]),
        ({"method": "expo_grpo", "expo": {"refresh_every": 5, "policy": "refreshed"}}, []),
        ({"method": "sage", "minibatches": 1}, ["trl.epsilon", "trl.epsilon_high"]),
        ({"method": "sage", "minibatches": 1, "iterations": 2}, []),
    ],
)
def test_what_is_idle_is_named(settings, idle):
    found = recipe(**settings)
    assert sorted(idle_keys(found)) == sorted(idle)
    # a resolved recipe, which names all values, has no more of them
    assert idle_keys(load_recipe(None, yaml.safe_load(recipe_yaml(found)))) == idle_keys(found)
