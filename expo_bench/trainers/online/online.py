"""GRPO, ExP-GRPO and GRPO with expert chains: a run from its recipe to its last checkpoint."""

from typing import Any

from accelerate import PartialState
from transformers import PrinterCallback

from expo_bench.engines.base import SamplingParams
from expo_bench.engines.rendering import end_ids
from expo_bench.evaluation.planning import Progress
from expo_bench.grading.judge import Judge
from expo_bench.prompts import explain_prompt, solve_prompt
from expo_bench.rows import Problem
from expo_bench.trainers.arguments import grpo_arguments, make_config
from expo_bench.trainers.callbacks import Checkpoints, Records
from expo_bench.trainers.data import order, prompt_rows
from expo_bench.trainers.folder import TrainingFolder
from expo_bench.trainers.models import load_policy, lora_config
from expo_bench.trainers.online.explaining import Explainer
from expo_bench.trainers.online.expo_grpo import ExpoGRPOTrainer
from expo_bench.trainers.online.recording import Recorder
from expo_bench.trainers.online.slot_sampler import SlotSampler
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
        trainer = _trainer(recipe, problems, folder, arguments, judge, state.is_main_process)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Records(folder, trainer._recorder, advance))
        trainer.add_callback(Checkpoints(recipe, folder, progress))
        trainer.train(resume_from_checkpoint=str(folder.checkpoint(done)) if done else None)


def _trainer(
    recipe: Recipe, problems: list[Problem], folder: TrainingFolder, arguments: Any, judge: Judge, is_main: bool
) -> ExpoGRPOTrainer:
    model, tokenizer = load_policy(recipe)
    prompt = solve_prompt(recipe.prompt)
    n_prompts = recipe.steps * recipe.prompts_per_step
    dataset = prompt_rows(problems, prompt).select(order(len(problems), n_prompts, recipe.seed))
    explainer = None
    if recipe.explains:
        explainer = Explainer(
            problems=problems,
            prompt=explain_prompt(recipe.explain_prompt),
            tokenizer=tokenizer,
            term=recipe.expo,
            seed=recipe.seed,
            load_base=lambda: load_policy(recipe)[0].to(model.device),
        )
    return ExpoGRPOTrainer(
        recipe=recipe,
        problems=problems,
        explainer=explainer,
        sampler=_sampler(recipe, model, tokenizer) if recipe.sampler == "slots" else None,
        recorder=Recorder(folder, problems, is_main),
        reward=GoldAnswerReward(problems, judge),
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(recipe),
    )


def _sampler(recipe: Recipe, model: Any, tokenizer: Any) -> SlotSampler:
    top_p = recipe.trl.get("top_p", 1.0)
    params = SamplingParams(temperature=recipe.temperature, top_p=top_p, max_tokens=recipe.max_tokens)
    return SlotSampler(end_ids(model, tokenizer), params)
