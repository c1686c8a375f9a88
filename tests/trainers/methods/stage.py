"""Runs of the cases on one loaded policy: a policy with adapters, and the same with the adapters merged."""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import peft
import pytest
import torch
from trl import GRPOConfig

from expo_bench.grading.judge import Judge
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers import callbacks, models
from expo_bench.trainers.arguments import grpo_arguments, make_config
from expo_bench.trainers.data import training_problems
from expo_bench.trainers.methods.chains import Chain, Group
from expo_bench.trainers.online import run as online_run
from expo_bench.trainers.online.drawing import Drawing
from expo_bench.trainers.online.trainer import OnlineTrainer
from expo_bench.trainers.recipe import Recipe
from tests.fakes import Silent
from tests.trainers.methods.cases import CASES, recipe_of

LORA = {"r": 4, "alpha": 8}


class Seen:
    """What the first pass of a trainer was made from, and its gradient."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.compute = trainer, trainer._compute_loss
        self.gradient: dict[str, torch.Tensor] = {}
        trainer._compute_loss = self.first

    def first(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss = self.compute(model, inputs)
        if not self.gradient:
            named = {name: one for name, one in model.named_parameters() if one.requires_grad}
            found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
            self.gradient = {name: one for name, one in zip(named, found, strict=True) if one is not None}
            self.done, self.inputs, self.groups = self.trainer._pass, inputs, self.trainer._groups
        return loss


class Stage:
    """Trainers of the cases, which share what is loaded."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.ends: dict[str, dict[str, torch.Tensor]] = {}
        self.base, self.tokenizer = models.load_policy(recipe_of("grpo"))
        # the micro policy is so sure that its rollouts are alike, and their gradients cancel: adapters make it less so,
        # and another one than its reference
        noise = torch.Generator().manual_seed(0)
        adapted = peft.get_peft_model(copy.deepcopy(self.base), models.lora_config(recipe_of("grpo", lora=LORA)))
        self.adapters = {
            name: 0.1 * torch.randn(one.shape, generator=noise)
            for name, one in adapted.named_parameters()
            if "lora_" in name
        }
        self.adapt(adapted)
        self.merged = adapted.merge_and_unload().requires_grad_(True).train()

    def adapt(self, model: Any) -> None:
        """Give a model with new adapters those of here."""
        named = dict(model.named_parameters())
        for name, one in self.adapters.items():
            named[name].data.copy_(one)

    @contextmanager
    def of(self, case: str) -> Iterator[list[Seen]]:
        """Let trainers be made of the policies here, and chains be right as the case says; list what they see."""
        found: list[Seen] = []

        def judged(_: Any, chains: list[Chain]) -> None:
            for one in chains:
                one.reward = float(CASES[case].is_right(one))

        def made(recipe: Recipe, *given: Any) -> Any:
            trainer = make_trainer(recipe, *given)
            if recipe.lora:
                self.adapt(trainer.model)
            found.append(Seen(trainer))
            return trainer

        def start(recipe: Recipe) -> tuple[Any, Any]:
            return copy.deepcopy(self.base if recipe.lora else self.merged), self.tokenizer

        @contextmanager
        def lent() -> Iterator[Judge]:
            yield self.judge

        make_trainer = online_run.make_trainer
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(online_run, "load_policy", start)
            patch.setattr(models, "load_policy", lambda _: (copy.deepcopy(self.base), self.tokenizer))
            patch.setattr(online_run, "Judge", lent)
            patch.setattr(online_run, "make_trainer", made)
            patch.setattr(Drawing, "_judge_all", judged)
            # here the reference is meant to be another policy
            patch.setattr(callbacks, "_SAME", math.inf)
            # a page for readers takes a tenth of a second
            patch.setattr(OnlineTrainer, "create_model_card", lambda *_, **__: None)
            yield found

    def train(self, case: str, recipe: Recipe, folder: TrainingFolder) -> Seen:
        """Train to the last step, from where the folder stands."""
        with self.of(case) as found:
            online_run.train_online(recipe, training_problems(recipe).problems, folder, Silent())
        return found[0]

    def first_pass(self, case: str, recipe: Recipe, folder: TrainingFolder, groups: Sequence[Group] = ()) -> Seen:
        """Draw a batch, or take one that was drawn elsewhere, and compute its first loss."""
        arguments = make_config(GRPOConfig, grpo_arguments(recipe, folder, 1))
        with self.of(case) as found:
            problems = training_problems(recipe).problems
            trainer = online_run.make_trainer(recipe, problems, folder, arguments, self.judge, True)
            if groups:
                trainer._drawing.groups = lambda *_: [_as_drawn(group) for group in groups]
            trainer.model.train()
            trainer.current_gradient_accumulation_steps = 1
            trainer._compute_loss(trainer.model, trainer._prepare_inputs(next(iter(trainer.get_train_dataloader()))))
        return found[0]


def _as_drawn(group: Group) -> Group:
    found = copy.deepcopy(group)
    for chain in found.chains:
        chain.kept = {}
    return found
