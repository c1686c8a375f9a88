"""A run of any online method, from its recipe to its last checkpoint."""

from typing import Any

from accelerate import PartialState
from transformers import PrinterCallback

from expo_bench.engines.base import SamplingParams
from expo_bench.engines.rendering import end_ids
from expo_bench.evaluation.progress import Progress
from expo_bench.grading.judge import Judge
from expo_bench.prompts import solve_prompt
from expo_bench.rows import Problem
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.arguments import grpo_arguments, make_config
from expo_bench.trainers.callbacks import Checkpoints, Records
from expo_bench.trainers.data import order, prompt_rows
from expo_bench.trainers.models import load_policy, lora_config, own_reference
from expo_bench.trainers.online.drawing import Writer
from expo_bench.trainers.online.recording import Recorder
from expo_bench.trainers.online.slot_sampler import SlotSampler
from expo_bench.trainers.online.toolbox import Toolbox
from expo_bench.trainers.online.trainer import OnlineTrainer
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.rewards import GoldAnswerReward


def train_online(recipe: Recipe, problems: list[Problem], folder: TrainingFolder, progress: Progress) -> None:
    """Train to the recipe's last step, from the last checkpoint that is whole.

    Raises:
        UserError: the recipe does not fit the model, the data or this machine.
    """
    from trl import GRPOConfig

    state = PartialState()
    arguments = make_config(GRPOConfig, grpo_arguments(recipe, folder, state.num_processes))
    done = max(folder.checkpoints(), default=0)
    advance = progress.start("training", recipe.steps, done)
    with Judge() as judge:
        with own_reference(recipe):
            trainer = make_trainer(recipe, problems, folder, arguments, judge, state.is_main_process)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Records(folder, trainer, advance))
        trainer.add_callback(Checkpoints(recipe, folder, progress))
        trainer.train(resume_from_checkpoint=str(folder.checkpoint(done)) if done else None)


def make_trainer(
    recipe: Recipe, problems: list[Problem], folder: TrainingFolder, arguments: Any, judge: Judge, is_main: bool
) -> OnlineTrainer:
    """Return the trainer of a recipe, with the policy loaded.

    Args:
        recipe: of an online method.
        problems: those to train on.
        folder: takes the rollouts.
        arguments: a GRPOConfig.
        judge: gives verdicts.
        is_main: whether this process writes.
    """
    model, tokenizer = load_policy(recipe)
    rows = prompt_rows(problems, solve_prompt(recipe.prompt))
    # a batch has the problems of all its minibatches, and is read once however often it is learned from
    n_prompts = recipe.steps * recipe.prompts_per_step // recipe.iterations
    reward = GoldAnswerReward(problems, judge)
    toolbox = Toolbox(recipe, problems, tokenizer, reward)
    policy, refresh_every = recipe.of_method.writer(recipe.settings)
    return OnlineTrainer(
        recipe=recipe,
        method=recipe.of_method(recipe.settings, toolbox),
        toolbox=toolbox,
        problems=problems,
        prompts=rows["prompt"],
        sampler=_sampler(recipe, model, tokenizer) if recipe.sampler == "slots" else None,
        writer=Writer(policy, refresh_every, lambda: load_policy(recipe)[0].to(model.device)),
        recorder=Recorder(folder, problems, is_main),
        judge=reward,
        model=model,
        args=arguments,
        train_dataset=rows.select(order(len(problems), n_prompts, recipe.seed)),
        processing_class=tokenizer,
        peft_config=lora_config(recipe),
    )


def _sampler(recipe: Recipe, model: Any, tokenizer: Any) -> SlotSampler:
    top_p = recipe.trl.get("top_p", 1.0)
    params = SamplingParams(temperature=recipe.temperature, top_p=top_p, max_tokens=recipe.max_tokens)
    return SlotSampler(end_ids(model, tokenizer), params)
