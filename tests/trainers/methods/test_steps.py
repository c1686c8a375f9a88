"""Two batches of each method on a small policy: gradients, stopped runs, passes of any size, adapters."""

import gc
import shutil
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from expo_bench.grading.judge import Judge
from expo_bench.rows import Rollout
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.methods.finding import find_method, method_names
from expo_bench.trainers.recipe import Recipe
from tests.trainers.methods.cases import CASES, UNDER, recipe_of
from tests.trainers.methods.gradient import expected_gradient
from tests.trainers.methods.stage import LORA, Seen, Stage


@pytest.fixture(scope="module")
def stage():
    with Judge(workers=1) as judge:
        made = Stage(judge)
        # a trainer collects garbage when it begins: let it not walk through all that was imported
        gc.collect()
        gc.freeze()
        yield made
        gc.unfreeze()


class Whole(NamedTuple):
    """A run of two batches that nothing stopped."""

    case: str
    recipe: Recipe
    folder: TrainingFolder
    seen: Seen
    rows: list[Rollout]
    middle: dict[str, torch.Tensor]
    end: dict[str, torch.Tensor]


def weights_after(folder, step):
    return load_file(folder.checkpoint(step) / "model.safetensors")


def largest(one: Any, other: Any) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.fixture(scope="module", params=CASES)
def whole(request, stage, tmp_path_factory):
    recipe = recipe_of(request.param)
    folder = TrainingFolder(tmp_path_factory.mktemp(request.param))
    seen = stage.train(request.param, recipe, folder)
    middle, end = (weights_after(folder, step) for step in folder.checkpoints())
    return Whole(request.param, recipe, folder, seen, list(folder.rollouts()), middle, end)


def test_every_method_has_a_case_and_says_what_it_is():
    online = [name for name in method_names() if find_method(name).is_online]
    assert {one.method for one in CASES.values()} == set(online)
    for name in online:
        assert len(find_method(name).summary()) > 30
        assert "Source: " in find_method(name).__doc__


def test_each_batch_does_what_the_method_is_about(whole, stage):
    case, recipe = CASES[whole.case], whole.recipe
    for first in (0, recipe.steps // 2):
        rows = [row for row in whole.rows if row.step == first]
        assert case.seen <= {(row.source, row.role) for row in rows if row.weight != 0}
        members = [row for row in rows if row.role == "member"]
        assert len(members) == 4 * recipe.prompts_per_step * recipe.minibatches
        assert {row.learned_under for row in members} == UNDER.get(whole.case, {"solve"})
        assert len({row.problem_id for row in rows}) > 1
    drawn = find_method(case.method).drawn_at_most(recipe.settings, 4)
    for group in whole.seen.groups:
        assert len(group.members) == 4
        counted = [chain for chain in (*group.before, *group.chains) if chain.source != "expert"]
        assert {chain.source for chain in counted} <= set(drawn)
        for source, most in drawn.items():
            assert sum(chain.source == source for chain in counted) <= most
    assert largest(whole.end, whole.middle) > 1e-4
    # what is the same to the end would be the same method
    assert all(largest(end, whole.end) > 1e-5 for end in stage.ends.values())
    stage.ends[whole.case] = whole.end
    if whole.case == "grpo_masked":
        seen = whole.seen
        assert seen.inputs["tool_mask"].sum(1).bool().tolist() == [one.group == 0 for one in seen.done.members]


def off(found, expected):
    """The length of the difference, in lengths of what is expected."""
    assert found.keys() == expected.keys()
    size = sum(one.square().sum() for one in expected.values()).sqrt()
    assert size > 1e-6
    return float(sum((one - found[name]).square().sum() for name, one in expected.items()).sqrt() / size)


def test_gradient(whole, stage):
    assert off(whole.seen.gradient, expected_gradient(whole.case, whole.seen, whole.recipe, stage)) < 5e-5


@pytest.mark.parametrize(("micro_batch", "tolerance"), [(None, 0), (2, 1e-6)], ids=["as it was", "in smaller passes"])
def test_a_stopped_run_goes_on_as_if_it_had_not(whole, stage, micro_batch, tolerance):
    shutil.rmtree(whole.folder.checkpoint(whole.recipe.steps))
    whole.folder.cut_rollouts(whole.recipe.steps // 2)
    recipe = whole.recipe.model_copy(update={"micro_batch": micro_batch})
    stage.train(whole.case, recipe, whole.folder)
    rows = list(whole.folder.rollouts())
    assert [row.text for row in rows] == [row.text for row in whole.rows]
    assert largest(weights_after(whole.folder, recipe.steps), whole.end) <= tolerance
    if not tolerance:
        assert rows == whole.rows


def test_adapters_have_the_gradient_of_what_they_are_merged_into(whole, stage, tmp_path):
    recipe = recipe_of(whole.case, lora=LORA)
    seen = stage.first_pass(whole.case, recipe, TrainingFolder(tmp_path), whole.seen.groups)
    expected = {}
    for name, gradient in whole.seen.gradient.items():
        before = f"base_model.model.{name.removesuffix('.weight')}"
        a, b = (f"{before}.lora_{factor}.default.weight" for factor in "AB")
        if a in stage.adapters:
            # alpha / r = 2
            expected[a] = 2 * stage.adapters[b].T @ gradient
            expected[b] = 2 * gradient @ stage.adapters[a].T
    assert off(seen.gradient, expected) < 5e-5


def test_adapters_draw_what_the_merged_policy_draws(stage, tmp_path):
    texts = [
        [chain.text for group in seen.groups for chain in group.chains]
        for seen in (
            stage.first_pass("nurl", recipe_of("nurl", lora=lora), TrainingFolder(tmp_path)) for lora in (LORA, None)
        )
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 2 * (4 + 1 + 3 + 1)
