"""ExP-GRPO on TRL: GRPO, plus beta * log pi(chain, answer | question) on a chain that is no member of the group.

    J = J_GRPO + beta(step) * mean over the step's groups of sum_i w_i * l_i          (arXiv 2507.02834)

with l_i the chain's log-probability under the solve prompt, a mean over its tokens or their sum, and w_i equal shares
among the chains of a group that pass the filter (0 if none does). The chain has no advantage and changes none. It runs
through the model in the same forward pass as the rollouts beside it, as additional rows. With beta 0 it is TRL's GRPO.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from trl import GRPOTrainer
from trl.models.utils import unwrap_model_for_generation

from expo_bench.evaluation.drawing import seed_from
from expo_bench.rows import Problem
from expo_bench.trainers.online.explaining import Explainer
from expo_bench.trainers.online.positives import (
    Positive,
    expert_chains,
    explanations,
    judge_explanations,
    share_weights,
    widened,
)
from expo_bench.trainers.online.recording import Own, Recorder
from expo_bench.trainers.online.slot_sampler import Draw, SlotSampler
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.rewards import GoldAnswerReward
from expo_bench.trainers.saving import SavesCheckpoints

_log = logging.getLogger(__name__)


class ExpoGRPOTrainer(SavesCheckpoints, GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPO trainer with the auxiliary term, seeds for each rollout, and a record of every chain."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        problems: Sequence[Problem],
        explainer: Explainer | None,
        sampler: SlotSampler | None,
        recorder: Recorder | None,
        reward: GoldAnswerReward,
        **trl: Any,
    ) -> None:
        """Take what the recipe asks for, and TRL's own arguments.

        Args:
            recipe: the method, the term and the geometry of a step.
            problems: the training problems; the dataset's `index` column counts in them.
            explainer: writes self-explanations; None where the method has none.
            sampler: draws rollouts; None: TRL does.
            recorder: takes the chains of each step; None: nothing is recorded.
            reward: the only reward function.
            trl: handed to GRPOTrainer.
        """
        super().__init__(reward_funcs=[reward], **trl)
        self._recipe, self._problems = recipe, problems
        self._explainer, self._sampler, self._recorder, self._reward = explainer, sampler, recorder, reward
        self._indexes: list[int] = []
        self._solve_ids: list[list[int]] = []
        self._positives: list[Positive] = []
        self._beside: list[Positive] = []
        self._beside_logprobs: tuple[torch.Tensor, torch.Tensor] | None = None
        self._own: list[Own] = []
        self._own_logprobs: torch.Tensor | None = None
        self._sum_logprobs: list[float] = []
        self._steps_without = 0

    @property
    def _n_groups(self) -> int:
        """Groups that this process draws."""
        return len(self._indexes) // int(self.num_generations)

    def _group(self, local: int) -> int:
        return int(self.accelerator.process_index) * self._n_groups + local

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)  # type: ignore[no-any-return]
        self._indexes = [row["index"] for row in inputs]
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        self._choose_positives()
        device = output["advantages"].device
        # a group's j-th chain travels with its j-th rollout through TRL's shuffling and splitting
        travels = torch.full((len(inputs),), -1, dtype=torch.long, device=device)
        taken: dict[int, int] = {}
        for number, one in enumerate(self._positives):
            if one.weight > 0:
                local = one.group - self._group(0)
                travels[local * self.num_generations + taken.get(local, 0)] = number
                taken[local] = taken.get(local, 0) + 1
        output["positive"] = travels
        output["rollout"] = torch.arange(len(inputs), device=device)
        self._own = self._own_rows(output)
        if self._recorder:
            self._recorder.begin(self.state.global_step, self._own, self._positives)
        return output

    def _own_rows(self, output: dict[str, Any]) -> list[Own]:
        ends = set(self.eos_token_ids)
        logprobs: Sequence[float | None] = self._sum_logprobs
        if not logprobs and "old_per_token_logps" in output:
            logprobs = (output["old_per_token_logps"] * output["completion_mask"]).sum(-1).tolist()
        rows = []
        for row, index in enumerate(self._indexes):
            ids = output["completion_ids"][row][output["completion_mask"][row].bool()].tolist()
            rows.append(
                Own(
                    group=self._group(row // self.num_generations),
                    index=index,
                    sample_index=row % self.num_generations,
                    text=self._tokenizer.decode(ids, skip_special_tokens=True),
                    n_tokens=len(ids),
                    finish_reason="stop" if ids and ids[-1] in ends else "length",
                    # where neither the sampler nor TRL tells it, the loss will, which is under the policy of the step
                    sum_logprob=logprobs[row] if logprobs else None,
                    verdict=self._reward.verdicts[row],
                    advantage=float(output["advantages"][row]),
                )
            )
        return rows

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, num_generations: int, **others: Any
    ) -> tuple[list[list[int]], Any]:
        self._sum_logprobs = []
        if not self.model.training:
            return super()._generate_single_turn(  # type: ignore[no-any-return]
                prompt_ids, images, multimodal_fields, num_generations, **others
            )
        self._solve_ids = prompt_ids[::num_generations]
        self._positives = []
        if self._sampler is None:
            return self._generate_with_trl(prompt_ids, images, multimodal_fields, num_generations)
        step, seed = self.state.global_step, self._recipe.seed
        own = [
            Draw(
                prompt_ids=ids,
                seeds=tuple(seed_from(seed, step, self._group(local), "own", n) for n in range(num_generations)),
            )
            for local, ids in enumerate(self._solve_ids)
        ]
        explain = self._explainer.draws(step, self._group(0), self._first_indexes) if self._explainer else []
        with unwrap_model_for_generation(self.model_wrapped, self.accelerator) as model:
            # the policy of the step draws both at once: prompts of either kind share its batch
            together = self._explainer is None or self._explainer.is_live
            drawn = self._sampler.draw(model, own + explain if together else own)
            if not together and self._explainer:
                drawn += self._sampler.draw(self._explainer.model_of(step, model), explain)
        completions = [done for listed in drawn[: len(own)] for done in listed]
        self._sum_logprobs = [done.sum_logprob or 0.0 for done in completions]
        if self._explainer:
            found = [[done.token_ids or () for done in listed] for listed in drawn[len(own) :]]
            self._take_explanations(found)
        return [list(done.token_ids or ()) for done in completions], None

    def _generate_with_trl(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, num_generations: int
    ) -> tuple[list[list[int]], Any]:
        generate = super()._generate_single_turn
        if self._explainer is None:
            return generate(prompt_ids, images, multimodal_fields, num_generations)  # type: ignore[no-any-return]
        copies = self._recipe.expo.per_problem
        shown = [ids for ids in self._explainer.prompts(self._first_indexes) for _ in range(copies)]
        if self.use_vllm and self.vllm_mode == "server":
            # the server is asked for num_generations samples of every num_generations-th prompt
            ids, logprobs = generate(prompt_ids, images, multimodal_fields, num_generations)
            more, _ = generate(shown, images, multimodal_fields, 1)
        else:
            ids, logprobs = generate(prompt_ids + shown, images, multimodal_fields, num_generations)
            ids, more = ids[: len(prompt_ids)], ids[len(prompt_ids) :]
            logprobs = logprobs[: len(prompt_ids)] if logprobs is not None else None
        if logprobs is not None:
            self._sum_logprobs = [sum(one) for one in logprobs]
        self._take_explanations([more[first : first + copies] for first in range(0, len(more), copies)])
        return ids, logprobs

    @property
    def _first_indexes(self) -> list[int]:
        return self._indexes[:: self.num_generations]

    def _take_explanations(self, found: Sequence[Sequence[Sequence[int]]]) -> None:
        """Keep the self-explanations of each group: token ids, end-of-sequence included."""
        self._positives = explanations(found, ends=set(self.eos_token_ids), **self._places)

    @property
    def _places(self) -> dict[str, Any]:
        first, indexes = self._group(0), self._first_indexes
        return {"first_group": first, "indexes": indexes, "solve_ids": self._solve_ids, "tokenizer": self._tokenizer}

    def _choose_positives(self) -> None:
        term = self._recipe.expo
        size = int(self.num_generations)
        right = [verdict.correct is True for verdict in self._reward.verdicts]
        solved = {self._group(at // size) for at in range(0, len(right), size) if any(right[at : at + size])}
        if self._positives:
            judge_explanations(self._positives, self._problems, self._reward)
        measured = self._recorder is not None and self.state.global_step % term.measure_every == 0
        if self._recipe.method == "grpo_expert" or measured:
            self._positives += expert_chains(self._problems, max_tokens=self._recipe.max_tokens, **self._places)
        learned = "expert" if self._recipe.method == "grpo_expert" else "self_explanation"
        if self._recipe.aux_beta > 0:
            share_weights([one for one in self._positives if one.source == learned], term, solved)
            self._warn(sum(one.weight > 0 for one in self._positives))
        if measured:
            self._measure([one for one in self._positives if one.weight == 0 and one.token_ids])

    def _warn(self, n_used: int) -> None:
        self._steps_without = 0 if n_used else self._steps_without + 1
        if self._steps_without and self._steps_without % self._recipe.expo.warn_after == 0:
            _log.warning(
                "step %d: no chain has passed the filter for %d steps; training goes on as GRPO (expo.filter is %s)",
                self.state.global_step,
                self._steps_without,
                ", ".join(self._recipe.expo.filter) or "empty",
            )

    def aux_coefficient(self) -> float:
        """Return beta of this step."""
        beta = self._recipe.aux_beta
        if self._recipe.expo.schedule == "anneal":
            beta *= 1 - self.state.global_step / self.state.max_steps
        return beta

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        travelling = inputs["positive"].tolist() if "positive" in inputs else []
        self._beside = [self._positives[number] for number in travelling if number >= 0]
        self._beside_logprobs = None
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        self._take_own_logprobs(inputs)
        beside, self._beside = self._beside, []
        if self._beside_logprobs is None:
            return loss
        logps, mask = self._beside_logprobs
        sums = (logps * mask).sum(-1)
        for one, value in zip(beside, sums.tolist(), strict=True):
            one.sum_logprob = value if one.sum_logprob is None else one.sum_logprob
        lengths = mask.sum(-1) if self._recipe.expo.normalise == "tokens" else torch.ones_like(sums)
        weights = torch.tensor([one.weight for one in beside], device=sums.device)
        # mean over the step's groups, of which DDP averages what each process holds
        groups = self._recipe.prompts_per_step / self.accelerator.num_processes
        term = (weights * sums / lengths).sum() / groups
        self._metrics["train"]["expo/mean_logprob"].append((sums / mask.sum(-1)).mean().item())
        return loss - self.aux_coefficient() * term

    def _take_own_logprobs(self, inputs: dict[str, Any]) -> None:
        if "rollout" not in inputs or self._own_logprobs is None:
            return
        sums = (self._own_logprobs * inputs["completion_mask"]).sum(-1)
        for number, value in zip(inputs["rollout"].tolist(), sums.tolist(), strict=True):
            one = self._own[number]
            one.sum_logprob = value if one.sum_logprob is None else one.sum_logprob
        self._own_logprobs = None

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *others: Any,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """As TRL's; in the loss, the chains beside the rollouts are rows of the same pass and are taken off again."""
        score = super()._get_per_token_logps_and_entropies
        if not torch.is_grad_enabled():
            return score(model, input_ids, attention_mask, logits_to_keep, *others, **more)  # type: ignore[no-any-return]
        if not self._beside:
            logps, entropies, aux = score(model, input_ids, attention_mask, logits_to_keep, *others, **more)
            self._own_logprobs = logps.detach()
            return logps, entropies, aux
        rows, n_before = len(input_ids), input_ids.shape[1] - logits_to_keep
        ids, mask, kept = widened(input_ids, attention_mask, n_before, self._beside, self._tokenizer.pad_token_id)
        logps, entropies, aux = score(model, ids, mask, kept, *others, **more)
        self._beside_logprobs = (logps[rows:], mask[rows:, -kept:])
        self._own_logprobs = logps[:rows, :logits_to_keep].detach()
        entropies = entropies[:rows, :logits_to_keep] if entropies is not None else None
        return logps[:rows, :logits_to_keep], entropies, aux

    def _measure(self, chains: list[Positive]) -> None:
        """Set the log-probability of chains that are not learned from, as many in a pass as rollouts."""
        size = int(self.args.per_device_train_batch_size)
        passes = math.ceil(len(chains) / size)
        if self.accelerator.num_processes > 1:
            # sharded weights are gathered in a pass: every process has to take part in each, whatever it holds
            counts = torch.tensor([passes], device=self.accelerator.device)
            passes = int(self.accelerator.gather(counts).max())
        for first in range(0, passes * size, size):
            self._measure_at_once(chains[first : first + size])

    def _measure_at_once(self, chains: list[Positive]) -> None:
        filler = Positive(
            source="expert", group=0, index=0, sample_index=0, prompt_ids=self._solve_ids[0],
            token_ids=(self._tokenizer.eos_token_id,), text="", finish_reason=None,
        )  # fmt: skip
        nothing = torch.zeros((0, 0), dtype=torch.long, device=self.accelerator.device)
        ids, mask, kept = widened(nothing, nothing, 0, chains or [filler], self._tokenizer.pad_token_id)
        with torch.no_grad():
            logps, _, _ = super()._get_per_token_logps_and_entropies(self.model, ids, mask, kept)
        sums = (logps * mask[:, -kept:]).sum(-1).tolist()
        for one, value in zip(chains, sums, strict=False):
            one.sum_logprob = value
