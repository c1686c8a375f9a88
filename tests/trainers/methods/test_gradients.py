"""Two steps of each method on the micro policy; the first gradient against a forward pass of its own in float64."""

from dataclasses import replace

import pytest
import torch
from trl import GRPOConfig

from expo_bench.grading.judge import Judge
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.arguments import grpo_arguments
from expo_bench.trainers.data import training_problems
from expo_bench.trainers.methods.finding import find_method, method_names
from expo_bench.trainers.models import load_policy
from expo_bench.trainers.online.run import make_trainer
from expo_bench.trainers.recipe import Recipe


@pytest.fixture(scope="module")
def judge():
    with Judge(workers=1) as judge:
        yield judge


def even(chain):
    return chain.sample_index % 2 == 0


def hinted(attempt):
    """Right are some of the completions under a hint, in this attempt only."""
    return lambda chain: chain.source == "hinted" and chain.attempt == attempt and even(chain)


CASES = {
    # case: method, its section, which chains are right
    "grpo": ("grpo", {}, even),
    "expo_grpo": ("expo_grpo", {"weight": 0.3}, even),
    "hdpo": (
        "expo_grpo",
        {"weight": 0.3, "loss": "jsd", "scope": "no_positive", "per_problem": 4},
        lambda one: one.source != "own",
    ),
    "grpo_expert": ("grpo_expert", {"weight": 0.3, "normalise": "sequence"}, even),
    "dr_grpo": ("dr_grpo", {}, even),
    "gspo": ("gspo", {}, even),
    "dapo": ("dapo", {}, lambda one: one.attempt == 1 and even(one)),
    "maxrl": ("maxrl", {}, even),
    "pass_at_k": ("pass_at_k", {"k": 2}, even),
    "pkpo": ("pkpo", {"k": 2}, even),
    "unlikeliness": ("unlikeliness", {}, even),
    "luffy": ("luffy", {}, even),
    "luffy-explained": ("luffy", {"guest": "self_explanation", "gamma": 1.0}, even),
    "questa": ("questa", {}, even),
    "pope": ("pope", {}, even),
    "nurl": ("nurl", {}, hinted(2)),
    "nurl-bare": ("nurl", {"keep_hint": False}, hinted(2)),
    "sage": ("sage", {}, hinted(4)),
    "ghpo": ("ghpo", {}, hinted(2)),
    "opsd": ("opsd", {"privilege": "answer"}, even),
    "sdpo": ("sdpo", {"reward": True}, even),
    "grpo_masked": ("grpo_masked", {}, lambda one: one.group == 1 or even(one)),
}


def test_every_method_has_a_case_and_says_what_it_is():
    online = [name for name in method_names() if find_method(name).is_online]
    assert {method for method, *_ in CASES.values()} == set(online)
    for name in online:
        assert len(find_method(name).summary()) > 30
        assert "Source: " in find_method(name).__doc__


def recipe_of(method, section, **settings):
    kind = find_method(method)
    updates = 1
    for key in ("minibatches", "iterations"):
        updates *= kind.defaults.get(key, 1)
    values = {
        "method": method, "model": "micro", "benchmark": "micro", "levels": (2,), "limit": 8, "steps": 2 * updates,
        "prompts_per_step": 2, "num_generations": 4, "max_tokens": 32, "learning_rate": 1e-4, **settings,
    }  # fmt: skip
    if section:
        values[kind.section or method] = section
    if method == "luffy":
        values["trl"] = {"entropy_coef": 0.0}
    return Recipe.model_validate(values)


def blurred(model):
    """The micro policy is so sure that its rollouts are alike, and their gradients cancel: other weights, less sure."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            one += 0.5 * one.std() * torch.randn(one.shape, generator=noise, dtype=torch.float).to(one)
    return model


class Watched:
    """A trainer that keeps its first gradient, what it was made from, and the first batch."""

    def __init__(self, path, chosen, judge, is_right):
        arguments = GRPOConfig(**grpo_arguments(chosen, TrainingFolder(path), 1))
        problems = training_problems(chosen).problems
        self.trainer = make_trainer(chosen, problems, TrainingFolder(path), arguments, judge, True)
        blurred(self.trainer.model)
        if self.trainer.ref_model is not None:
            blurred(self.trainer.ref_model)
        self.compute, self.gradient = self.trainer._compute_loss, None
        self.trainer._compute_loss = self.first
        self.trainer._drawing._judge_all = lambda chains: [
            setattr(one, "reward", float(is_right(one))) for one in chains
        ]

    def judged(self, chains):
        for one in chains:
            one.reward = float(self.is_right(one))

    def first(self, model, inputs):
        loss = self.compute(model, inputs)
        if self.gradient is None:
            named = dict(model.named_parameters())
            found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
            self.gradient = {name: one for name, one in zip(named, found, strict=True) if one is not None}
            self.done, self.inputs, self.groups = self.trainer._pass, inputs, self.trainer._groups
        return loss


def logprobs(model, prompt, chain):
    logits = model(input_ids=torch.tensor([[*prompt, *chain.token_ids]])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)


def of_tokens(distributions, chain):
    return distributions[torch.arange(len(chain.token_ids)), list(chain.token_ids)]


def weights(case, chain, own, model, watched):
    """The factor of each token's gradient of log pi, but for the chain's share."""
    advantage = torch.full_like(own, chain.advantage)
    if case.startswith("luffy") and chain.source != "own":
        gamma = 1.0 if case == "luffy-explained" else 0.1
        return advantage * gamma * own.exp() / (own.exp() + gamma) ** 2
    if case not in ("opsd", "sdpo"):
        return advantage
    tools = watched.trainer._toolbox
    problem = tools.problem(chain.index)
    if case == "opsd":
        prompt = tools.explain_ids(problem)
    else:
        [group] = [one for one in watched.groups if one.place == chain.group]
        other = next(one for one in group.members if even(one) and one is not chain)
        question = f"{problem.question}\n\nA correct solution:\n{other.text}"
        prompt = tools.solve_ids(replace(problem, question=question))
    gap = (of_tokens(logprobs(model, prompt, chain), chain) - own).clamp(-2, 2)
    return gap + (advantage if case == "sdpo" else 0)


def expected_gradient(case, watched, chosen):
    model = blurred(load_policy(chosen)[0]).double()
    trainer, tools = watched.trainer, watched.trainer._toolbox
    loss_type, rows = trainer.args.loss_type, len(watched.done.members)
    objective = torch.zeros((), dtype=torch.double)
    for chain, masked in zip(watched.done.members, watched.inputs.get("tool_mask", torch.ones(rows, 1)), strict=True):
        own = of_tokens(logprobs(model, chain.prompt_ids, chain), chain)
        share = {
            "grpo": 1 / rows / len(own),
            "dr_grpo": 1 / rows / chosen.max_tokens,
            "dapo": chosen.minibatches / float(watched.inputs["num_items_in_batch"]),
        }[loss_type]
        with torch.no_grad():
            factor = weights(case, chain, own, model, watched) * float(masked[0])
        objective = objective + share * (factor * own).sum()
    for chain in watched.done.beside:
        plain = logprobs(model, chain.prompt_ids, chain)
        if case == "hdpo":
            with torch.no_grad():
                knowing = logprobs(model, tools.explain_ids(tools.problem(chain.index)), chain)
            mixed = ((knowing.exp() + plain.exp()) / 2).log()
            value = -0.5 * (knowing.exp() * (knowing - mixed) + plain.exp() * (plain - mixed)).sum(-1).mean()
        else:
            own = of_tokens(plain, chain)
            value = own.sum() if case == "grpo_expert" else own.mean()
        objective = objective + 0.3 * chain.weight * value / chosen.prompts_per_step
    named = dict(model.named_parameters())
    found = torch.autograd.grad(-objective, list(named.values()), allow_unused=True)
    return {name: one for name, one in zip(named, found, strict=True) if one is not None}


@pytest.mark.parametrize("case", CASES)
def test_gradient(case, tmp_path, judge):
    method, section, is_right = CASES[case]
    chosen = recipe_of(method, section)
    watched = Watched(tmp_path, chosen, judge, is_right)
    watched.trainer.train()
    assert watched.trainer.state.global_step == chosen.steps
    expected = expected_gradient(case, watched, chosen)
    assert expected.keys() == watched.gradient.keys()
    size = sum(one.square().sum() for one in expected.values()).sqrt()
    off = sum((one - watched.gradient[name]).square().sum() for name, one in expected.items()).sqrt()
    assert size > 1e-6
    assert off / size < 1e-4
    drawn = find_method(method).drawn_at_most(chosen.settings, 4)
    for group in watched.groups:
        assert len(group.members) == 4
        counted = [chain for chain in (*group.before, *group.chains) if chain.source != "expert"]
        assert {chain.source for chain in counted} <= set(drawn)
        for source, most in drawn.items():
            assert sum(chain.source == source for chain in counted) <= most
    if case == "grpo_masked":
        assert {group.place for group in watched.groups if watched.trainer._method.counts(group)} == {0}
        assert watched.inputs["tool_mask"].sum(1).bool().tolist() == [one.group == 0 for one in watched.done.members]
