"""The gradient of a step, from a forward pass of its own in float64, one chain at a time."""

import copy
from dataclasses import replace
from typing import Any

import torch

from expo_bench.trainers.recipe import Recipe
from tests.trainers.methods.cases import even
from tests.trainers.methods.stage import Seen, Stage


def logprobs(model, prompt, chain):
    logits = model(input_ids=torch.tensor([[*prompt, *chain.token_ids]])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)


def of_tokens(distributions, chain):
    return distributions[torch.arange(len(chain.token_ids)), list(chain.token_ids)]


def weights(case, chain, own, model, seen):
    """The factor of each token's gradient of log pi, but for the chain's share."""
    advantage = torch.full_like(own, chain.advantage)
    if case.startswith("luffy") and chain.source != "own":
        gamma = 1.0 if case == "luffy-explained" else 0.1
        return advantage * gamma * own.exp() / (own.exp() + gamma) ** 2
    if case not in ("opsd", "sdpo"):
        return advantage
    tools = seen.trainer._toolbox
    problem = tools.problem(chain.index)
    if case == "opsd":
        prompt = tools.explain_ids(problem)
    else:
        [group] = [one for one in seen.groups if one.place == chain.group]
        other = next(one for one in group.members if even(one) and one is not chain)
        question = f"{problem.question}\n\nA correct solution:\n{other.text}"
        prompt = tools.solve_ids(replace(problem, question=question))
    gap = (of_tokens(logprobs(model, prompt, chain), chain) - own).clamp(-2, 2)
    return gap + (advantage if case == "sdpo" else 0)


def expected_gradient(case: str, seen: Seen, recipe: Recipe, stage: Stage) -> dict[str, torch.Tensor]:
    """Return the gradient of the first pass that a trainer of the merged policy made."""
    model, base = (copy.deepcopy(one).double() for one in (stage.merged, stage.base))
    arguments, tools, rows = seen.trainer.args, seen.trainer._toolbox, len(seen.done.members)
    objective: Any = torch.zeros((), dtype=torch.double)
    for chain, masked in zip(seen.done.members, seen.inputs.get("tool_mask", torch.ones(rows, 1)), strict=True):
        own = of_tokens(logprobs(model, chain.prompt_ids, chain), chain)
        share = {
            "grpo": 1 / rows / len(own),
            "dr_grpo": 1 / rows / recipe.max_tokens,
            "dapo": recipe.minibatches / float(seen.inputs["num_items_in_batch"]),
        }[arguments.loss_type]
        with torch.no_grad():
            factor = weights(case, chain, own, model, seen)
            reference = of_tokens(logprobs(base, chain.prompt_ids, chain), chain) if arguments.beta else own
        # times the ratio, which is 1 and has a gradient: TRL's default
        divergence = ((reference - own).exp() - (reference - own) - 1) * (own - own.detach()).exp()
        objective = objective + share * float(masked[0]) * (factor * own - arguments.beta * divergence).sum()
    for chain in seen.done.beside:
        plain = logprobs(model, chain.prompt_ids, chain)
        if case == "hdpo":
            with torch.no_grad():
                knowing = logprobs(model, tools.explain_ids(tools.problem(chain.index)), chain)
            mixed = ((knowing.exp() + plain.exp()) / 2).log()
            value = -0.5 * (knowing.exp() * (knowing - mixed) + plain.exp() * (plain - mixed)).sum(-1).mean()
        else:
            own = of_tokens(plain, chain)
            value = own.sum() if case == "grpo_expert" else own.mean()
        objective = objective + 0.3 * chain.weight * value / recipe.prompts_per_step
    named = dict(model.named_parameters())
    found = torch.autograd.grad(-objective, list(named.values()), allow_unused=True)
    return {name: one for name, one in zip(named, found, strict=True) if one is not None}
