"""One round of DPO or SFT on rows that are token ids already, from its first step to its last."""

import gc
import os
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from expo_bench.errors import UserError
from expo_bench.evaluation.progress import Progress
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.arguments import common_arguments, make_config
from expo_bench.trainers.callbacks import Checkpoints, Records
from expo_bench.trainers.models import load_policy, lora_config
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.saving import SavesCheckpoints
from expo_bench.trainers.trl_fields import with_trl


class _Round(SavesCheckpoints):
    """A trainer that counts the steps of a run, of which it takes those of one round, with an optimizer of its own."""

    first_step = 0
    """Steps that were taken before the round."""

    def _init_training_state(self, *given: Any) -> tuple[int, int]:
        # the round's rows are as long as an epoch, so TRL's own arithmetic finds the place of a checkpoint in them
        found: tuple[int, int] = super()._init_training_state(*given)  # type: ignore[misc]
        state: Any = self.state  # type: ignore[attr-defined]
        state.global_step = max(state.global_step, self.first_step)
        return found

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return a schedule that is as long as the round, since the optimizer is the round's own as well."""
        return super().create_scheduler(num_training_steps - self.first_step, optimizer)  # type: ignore[misc]


class MaskedPreferences(DataCollatorForPreference):  # type: ignore[misc]
    """TRL's collator, for rows whose chosen_mask and rejected_mask tell which tokens of a chain take part (1) or not.

    TRL adds up the log-probabilities, those of the reference as well, where completion_mask is 1.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch with the masks of the rows."""
        batch: dict[str, Any] = super().torch_call(examples)
        pairs = [(one, name) for name in ("chosen_mask", "rejected_mask") for one in examples]
        for row, (one, name) in enumerate(pairs):
            start = len(one["prompt_ids"])
            batch["completion_mask"][row, start : start + len(one[name])] = torch.tensor(one[name])
        return batch


class RoundDPO(_Round, DPOTrainer):  # type: ignore[misc]
    """TRL's DPO trainer on rows with prompt_ids, chosen_ids and rejected_ids, and a term of SFT beside its loss.

    The term is the mean over all tokens of the step's chosen chains. TRL's own takes it within each forward pass, and
    would change with `micro_batch`.
    """

    sft_weight = 0.0
    _share: float | torch.Tensor | None = None
    """Of a token of the step in the mean, times the passes and processes over which losses are averaged afterwards."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def get_batch_samples(self, *given: Any, **named: Any) -> tuple[list[Any], Any]:
        """Return the step's passes; count the tokens of their chosen chains."""
        passes, n_items = super().get_batch_samples(*given, **named)
        if self.sft_weight and passes:
            counted = torch.stack([_chosen_mask(one).sum() for one in passes]).sum().to(self.accelerator.device)
            n_tokens = self.accelerator.reduce(counted, "sum")
            self._share = len(passes) * self.accelerator.num_processes / n_tokens.clamp(min=1)
        return passes, n_items

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        if not self.sft_weight:
            return super()._compute_loss(model, inputs, return_outputs)
        mask, kept = _chosen_mask(inputs), []

        def watched(**given: Any) -> Any:
            kept.append(model(**given))
            return kept[-1]

        loss = super()._compute_loss(watched, inputs, return_outputs=False)
        share = self._share if self._share is not None else 1 / mask.sum().clamp(min=1)
        logprobs = kept[0].log_probs[: len(mask), -mask.shape[1] :]
        return loss - self.sft_weight * share * (logprobs * mask).sum()


def _chosen_mask(inputs: dict[str, Any]) -> torch.Tensor:
    """Return which tokens of the chosen chains count, at the places of their log-probabilities; (pairs, length - 1)."""
    mask: torch.Tensor = inputs["completion_mask"]
    return mask[: len(mask) // 2, 1:]


class RoundSFT(_Round, SFTTrainer):  # type: ignore[misc]
    """TRL's SFT trainer; rows with input_ids and labels are taken as they are."""


def learn(recipe: Recipe, rows: Any, number: int, model: str, folder: TrainingFolder, progress: Progress) -> None:
    """Take the steps of a round, from the last checkpoint that lies in it.

    Args:
        recipe: says how many steps there are.
        rows: a `datasets.Dataset` in the order of the steps, `prompts_per_step` for each.
        number: of the round, from 0.
        model: the policy that the steps start from, which is DPO's reference as well.
        folder: takes checkpoints and logs.
        progress: told of the steps.

    Raises:
        UserError: numbers that do not divide, or a setting that TRL refuses.
    """
    trainer = round_trainer(recipe, rows, number, model, folder)
    done = max(folder.checkpoints(), default=0)
    advance = progress.start("training", recipe.steps, max(done, trainer.first_step))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Records(folder, None, advance))
    trainer.add_callback(Checkpoints(recipe, folder, progress))
    trainer.train(resume_from_checkpoint=str(folder.checkpoint(done)) if done > trainer.first_step else None)
    # the next round loads a model to draw from
    trainer.accelerator.free_memory()
    del trainer
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def round_trainer(recipe: Recipe, rows: Any, number: int, model: str, folder: TrainingFolder) -> Any:
    """Return the trainer of a round; arguments as for `learn`."""
    prefers = recipe.prefers(number)
    config, trainer_type = (DPOConfig, RoundDPO) if prefers else (SFTConfig, RoundSFT)
    arguments = make_config(config, round_arguments(recipe, number, folder, PartialState().num_processes))
    # TRL shows a bar of its own while it computes the reference's log-probabilities
    os.environ.setdefault("TQDM_DISABLE", "1")
    policy, tokenizer = load_policy(recipe, None if model == recipe.model else model)
    collator = None
    if "chosen_mask" in rows.column_names:
        collator = MaskedPreferences(
            pad_token_id=tokenizer.pad_token_id, pad_to_multiple_of=arguments.pad_to_multiple_of
        )
    trainer = trainer_type(
        model=policy,
        args=arguments,
        data_collator=collator,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora_config(recipe),
    )
    trainer.first_step = number * (recipe.steps // recipe.rounds)
    if prefers:
        trainer.sft_weight = recipe.preference.sft_weight
    return trainer


def round_arguments(recipe: Recipe, number: int, folder: TrainingFolder, n_processes: int) -> dict[str, Any]:
    """Return the arguments of DPOConfig or SFTConfig for a round.

    Raises:
        UserError: numbers that do not divide, or a field of `trl` that may not be set.
    """
    micro, accumulation = _geometry(recipe, n_processes)
    arguments = {
        **common_arguments(recipe, folder),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulation,
        "max_steps": (number + 1) * (recipe.steps // recipe.rounds),
        # the order is that of the rows, so that it survives a restart
        "train_sampling_strategy": "sequential",
        # nothing is cut: the token limit held when the chains were drawn
        "max_length": None,
    }
    if not recipe.prefers(number):
        return with_trl(arguments, recipe, SFTConfig)
    if recipe.still is not None:
        arguments["learning_rate"] = recipe.still.dpo_learning_rate or recipe.learning_rate
    arguments |= {
        "beta": recipe.preference.beta,
        "loss_type": "sigmoid",
        # TRL would load the reference by name: another revision, or a base without its adapters
        "precompute_ref_log_probs": True,
    }
    arguments = with_trl(arguments, recipe, DPOConfig)
    return {**arguments, "loss_type": [arguments["loss_type"]]}


def _geometry(recipe: Recipe, n_processes: int) -> tuple[int, int]:
    """Return rows of a forward pass on one device, and how many passes make a step."""
    local, rest = divmod(recipe.prompts_per_step, n_processes)
    micro = recipe.micro_batch or local
    if rest or local % micro:
        raise UserError(
            f"prompts_per_step ({recipe.prompts_per_step}) must be a multiple of the {n_processes} processes times "
            f"micro_batch ({micro})"
        )
    return micro, local // micro
