"""GRPO on TRL for any method: the chains of a step are made before TRL sees them, and played back to it.

    J = mean over the step's groups of [J_policy(members, advantages) + coefficient * term(chains beside the group)]

What is drawn, who sits in a group, its advantages and the term are the method's (`trainers/methods/`); its name is not
known here. Chains beside a group run through the model in the same forward pass as the members, as additional rows.
With the hooks of GRPO it is TRL's trainer to the last bit.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from trl import GRPOTrainer
from trl.models.utils import unwrap_model_for_generation

from expo_bench.rows import Problem, Rollout
from expo_bench.trainers.methods.base import OnlineMethod, Pass
from expo_bench.trainers.methods.chains import Chain, Group
from expo_bench.trainers.online.agreement import Agreement
from expo_bench.trainers.online.drawing import Drawing, Drawn, Wanted, Writer
from expo_bench.trainers.online.recording import Recorder
from expo_bench.trainers.online.scoring import is_large, scored_tokens_only, zero_gradient
from expo_bench.trainers.online.share import TermGradient
from expo_bench.trainers.online.slot_sampler import Draw, SlotSampler
from expo_bench.trainers.online.toolbox import Toolbox
from expo_bench.trainers.online.widening import widened
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.rewards import GoldAnswerReward
from expo_bench.trainers.saving import SavesCheckpoints

_log = logging.getLogger(__name__)


class _Seated:
    """TRL's reward function: the rewards of the members, as the method gives them."""

    __name__ = "gold_answer"

    def __init__(self) -> None:
        self.rewards: list[float | None] = []

    def __call__(self, **_: Any) -> list[float | None]:
        return self.rewards


class OnlineTrainer(SavesCheckpoints, GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPO trainer around a method, with seeds for each rollout and a record of every chain."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        method: OnlineMethod,
        toolbox: Toolbox,
        problems: Sequence[Problem],
        prompts: Sequence[Any],
        sampler: SlotSampler | None,
        writer: Writer,
        recorder: Recorder | None,
        judge: GoldAnswerReward,
        **trl: Any,
    ) -> None:
        """Take what the recipe asks for, and TRL's own arguments.

        Args:
            recipe: the geometry of a step.
            method: what is drawn and learned.
            toolbox: the method's.
            problems: the training problems; the dataset's `index` column counts in them.
            prompts: their solve prompts, as TRL shows them.
            sampler: draws rollouts; None: TRL does.
            writer: who writes what the method draws `by_writer`.
            recorder: takes the chains of each step; None: nothing is recorded.
            judge: gives verdicts.
            trl: handed to GRPOTrainer.
        """
        self._seated = _Seated()
        super().__init__(reward_funcs=[self._seated], **trl)
        toolbox.policy = self
        self._recipe, self._method, self._toolbox, self._prompts = recipe, method, toolbox, prompts
        self._sampler, self._writer, self._recorder = sampler, writer, recorder
        self._drawing = Drawing(
            recipe=recipe,
            method=method,
            problems=problems,
            judge=judge,
            tokenizer=self._tokenizer,
            sampler=self._by_trl if sampler is None else self._by_slots,
            agree=self._anyone,
            ends=frozenset(self.eos_token_ids),
        )
        self._groups: list[Group] = []
        self._members: list[Chain] = []
        self._beside: list[Chain] = []
        self._pass: Pass | None = None
        self._inputs: dict[str, Any] = {}
        self._agreement = Agreement(self.model, self.temperature)
        self._term = 0.0
        self._weighs, self._term_gradient = False, TermGradient()
        self._term_norm: float | None = None

    def _anyone(self, one: bool) -> bool:
        """Tell whether any process says so."""
        if self.accelerator.num_processes == 1:
            return one
        return bool(self.accelerator.gather(torch.tensor([int(one)], device=self.accelerator.device)).sum())

    # a batch of rollouts

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        step, size = int(self.state.global_step), int(self.num_generations)
        indexes = [row["index"] for row in inputs[::size]]
        first = int(self.accelerator.process_index) * len(indexes)
        groups = self._groups = self._drawing.groups(step, first, indexes)
        self._members = [chain for group in groups for chain in group.members]
        self._seated.rewards = [one for group in groups for one in self._method.rewards(group)]
        rows = [{"prompt": self._prompts[one.index], "index": one.index} for one in self._members]
        # a copy, since what is returned is buffered and handed in again
        output = dict(super()._generate_and_score_completions(rows))
        self._set_advantages(output)
        if not self._agreement.checked and (self._sampler is None or self._agreement.drops_out):
            self._compare_padding()
        self._method.prepare(groups)
        self._measure(step)
        self._send_along(output)
        warning = self._method.warning(groups)
        if warning:
            _log.warning("step %d: %s", step, warning)
        if self._recorder:
            self._recorder.begin(step, groups)
        return output

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [one.prompt_ids for one in self._members], None, {}

    def _generate_single_turn(self, *_: Any, **__: Any) -> tuple[list[list[int]], list[list[float | None]] | None]:
        """Play back what was made; who has no log-probabilities of a sampler is not corrected for one."""
        ids = [list(one.token_ids) for one in self._members]
        if not self.use_vllm:
            return ids, None
        unknown = [one.sampler_logprobs or [None] * len(one.token_ids) for one in self._members]
        return ids, unknown

    def _set_advantages(self, output: dict[str, Any]) -> None:
        size = int(self.num_generations)
        for at, group in enumerate(self._groups):
            rewards = self._seated.rewards[at * size : (at + 1) * size]
            found = self._method.advantages(rewards)
            if found is not None:
                output["advantages"][at * size : (at + 1) * size] = torch.tensor(found)
            if not self._method.counts(group):
                ones = torch.ones_like(output["completion_mask"])
                output.setdefault("tool_mask", ones)[at * size : (at + 1) * size] = 0
        for chain, value in zip(self._members, output["advantages"].tolist(), strict=True):
            chain.advantage = value

    def _send_along(self, output: dict[str, Any]) -> None:
        """Number the chains, so that each is found again behind TRL's shuffling and splitting."""
        size, device = int(self.num_generations), output["advantages"].device
        output["member"] = torch.arange(len(self._members), device=device)
        beside = output["beside"] = torch.full((len(self._members),), -1, dtype=torch.long, device=device)
        self._beside = []
        for at, group in enumerate(self._groups):
            # a group's j-th chain travels with its j-th member
            for place, chain in enumerate(chain for chain in group.beside if chain.weight):
                beside[at * size + place] = len(self._beside)
                self._beside.append(chain)
        if "old_per_token_logps" in output:
            self._agreement.note(self._members, (output["old_per_token_logps"] * output["completion_mask"]).sum(-1))

    # samplers

    def _by_slots(self, wanted: Sequence[Wanted]) -> list[list[Drawn]]:
        assert self._sampler is not None
        found: dict[int, list[Drawn]] = {}
        with unwrap_model_for_generation(self.model_wrapped, self.accelerator) as model:
            # the policy of the step draws all at once: prompts of every kind share its batch
            apart = [] if self._writer.is_live else [at for at, one in enumerate(wanted) if one.draw.by_writer]
            for places in ([at for at in range(len(wanted)) if at not in apart], apart):
                if places:
                    policy = self._writer.model_of(int(self.state.global_step), model) if places is apart else model
                    draws = [Draw(prompt_ids=wanted[at].draw.prompt_ids, seeds=wanted[at].seeds) for at in places]
                    for at, listed in zip(places, self._sampler.draw(policy, draws), strict=True):
                        found[at] = [
                            Drawn(token_ids=list(one.token_ids or ()), sum_logprob=one.sum_logprob) for one in listed
                        ]
        return [found[at] for at in range(len(wanted))]

    def _by_trl(self, wanted: Sequence[Wanted]) -> list[list[Drawn]]:
        prompts = [one.draw.prompt_ids for one in wanted for _ in one.seeds]
        filler = prompts[0] if prompts else [int(self._tokenizer.eos_token_id)]
        # a server slices by each process's own count, and sharded weights are gathered by all: none may ask for fewer
        padded = prompts + [filler] * (self._most(len(prompts)) - len(prompts))
        if not padded:
            return []
        ids, logprobs = super()._generate_single_turn(padded, None, {}, 1)
        plain = self.temperature == 1
        drawn = iter(
            Drawn(
                token_ids=ids[at],
                logprobs=logprobs[at] if logprobs is not None else None,
                sum_logprob=_sum(logprobs[at]) if logprobs is not None and plain else None,
            )
            for at in range(len(prompts))
        )
        return [[next(drawn) for _ in one.seeds] for one in wanted]

    def _most(self, number: int) -> int:
        if self.accelerator.num_processes == 1:
            return number
        return int(self.accelerator.gather(torch.tensor([number], device=self.accelerator.device)).max())

    # the loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._inputs = inputs = dict(inputs)
        done = self._pass = Pass(
            members=[self._members[number] for number in inputs["member"].tolist()],
            beside=[self._beside[number] for number in inputs["beside"].tolist() if number >= 0],
            logprobs=None,
            mask=inputs["completion_mask"],
            model=model,
        )
        # of sharded weights a process has no whole gradient
        self._weighs = self._method.weighs_term() and not (self.is_fsdp_enabled or self.is_deepspeed_enabled)
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        if done.logprobs is not None:
            self._agreement.note(done.members, (done.logprobs * done.mask).sum(-1))
        if not done.beside:
            return loss
        self._agreement.note(done.beside, (done.beside_logprobs * done.beside_mask).sum(-1))
        # mean over the step's groups, of which DDP averages what each process holds
        groups = self._recipe.prompts_per_step / self.accelerator.num_processes
        term: torch.Tensor = self._method.term(done) / groups
        self._term += float(term.detach())
        part = -self._method.coefficient() * term
        if self._weighs:
            self._term_gradient.add(part, self.model)
        return loss + part

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *others: Any,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """As TRL's; in the loss, the chains beside the members are rows of the same pass and are taken off again."""
        score = self._scored
        done = self._pass
        if done is None or not torch.is_grad_enabled():
            return score(model, input_ids, attention_mask, logits_to_keep, *others, **more)
        rows = len(input_ids)
        ids, mask, kept = input_ids, attention_mask, logits_to_keep
        if done.beside:
            prompts = [one.prompt_ids for one in done.beside]
            n_before, pad = ids.shape[1] - kept, self._tokenizer.pad_token_id
            ids, mask, kept = widened(ids, mask, n_before, prompts, done.beside, pad)
        idle = self._nothing_to_learn(done)
        if idle and self._sampler_told_all(done):
            return zero_gradient(self.model).expand(rows, kept), _entropies(done), None
        with torch.set_grad_enabled(not idle):
            logps, entropies, aux = score(model, ids, mask, kept, *others, **more)
        if idle:
            logps = logps + zero_gradient(self.model)
        if done.beside:
            done.beside_logprobs, done.beside_mask = logps[rows:], mask[rows:, -kept:]
            logps = logps[:rows, :logits_to_keep]
            entropies = entropies[:rows, :logits_to_keep] if entropies is not None else None
        done.logprobs = logps.detach()
        self._shape_advantages(done)
        return logps, entropies, aux

    def _nothing_to_learn(self, done: Pass) -> bool:
        """Tell whether the gradient of these rows is 0: groups that are alike, and no other pull than advantages.

        More than half of a pass is the way back. Several processes go it together, and the method may give tokens
        advantages that their rows have not.
        """
        pulled = self.beta or self._entropy_bonus_enabled or self.aux_loss_enabled
        if done.beside or self._method.adds_advantages() or pulled or self.accelerator.num_processes > 1:
            return False
        return not self._inputs["advantages"].any()

    def _sampler_told_all(self, done: Pass) -> bool:
        """Tell whether a pass over rows without a gradient would only repeat what the sampler told of this very policy.

        Every `measure_every` steps they are read all the same: the two are compared, and the entropy is exact.
        """
        known = all(one.sum_logprob is not None and one.token_ids for one in done.members)
        repeats = self._sampler is not None and "old_per_token_logps" not in self._inputs and self.temperature == 1
        due = not self._agreement.checked or self.state.global_step % self._recipe.measure_every == 0
        return known and repeats and not due and self.top_entropy_quantile == 1 and is_large(len(self._tokenizer))

    def _scored(self, *given: Any, **more: Any) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        with scored_tokens_only(len(self._tokenizer)):
            return super()._get_per_token_logps_and_entropies(*given, **more)  # type: ignore[no-any-return]

    def _shape_advantages(self, done: Pass) -> None:
        """Give tokens their advantages, which TRL reads after the pass."""
        inputs = self._inputs
        inputs["advantages"] = self._method.token_advantages(done, inputs["advantages"])
        plain = [row for row, one in enumerate(done.members) if self._method.has_no_ratio(one)]
        if plain and "old_per_token_logps" in inputs:
            inputs["old_per_token_logps"] = inputs["old_per_token_logps"].clone()
            inputs["old_per_token_logps"][plain] = done.logprobs[plain]

    # likelihoods without gradients

    def _measure(self, step: int) -> None:
        """Measure the chains beside the groups that the loss will not, and every few steps the experts'."""
        at_all = self._recorder is not None and step % self._recipe.measure_every == 0 and self.temperature == 1
        several = self._recipe.updates_per_batch > 1
        if at_all:
            for group in self._groups:
                if not group.of("expert"):
                    found = self._toolbox.expert(group)
                    group.seat([found] if found else [], "beside")
        if at_all or several:
            # a policy that was updated in between is another one
            beside = [chain for group in self._groups for chain in group.beside if chain.token_ids]
            chains = [chain for chain in beside if several or not chain.weight]
            for one, logprobs in zip(chains, self.score(chains, [one.prompt_ids for one in chains]), strict=True):
                if self.temperature == 1:
                    one.sum_logprob = float(logprobs.sum())

    def score(self, chains: Sequence[Chain], prompts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Return the log-probabilities of each chain's tokens under a prompt each, as many in a pass as in the loss.

        Sharded weights are gathered in a pass: every process has to call this, whatever it holds.
        """
        size = int(self.args.per_device_train_batch_size)
        found: list[torch.Tensor] = []
        filler = [Chain(**{**_FILLER, "token_ids": (int(self._tokenizer.eos_token_id),)})]
        before = [[int(self._tokenizer.eos_token_id)]]
        for first in range(0, self._most(math.ceil(len(chains) / size)) * size, size):
            some, shown = list(chains[first : first + size]), list(prompts[first : first + size])
            logps = self._without_gradients(some or filler, shown or before)
            found += [row[: len(one.token_ids)] for row, one in zip(logps, some, strict=False)]
        return found

    def _without_gradients(self, chains: Sequence[Chain], prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        nothing = torch.zeros((0, 0), dtype=torch.long, device=self.accelerator.device)
        ids, mask, kept = widened(nothing, nothing, 0, prompts, chains, self._tokenizer.pad_token_id)
        with torch.no_grad():
            return self._scored(self.model, ids, mask, kept)[0]

    def _compare_padding(self) -> None:
        training = self.model.training
        self.model.eval()
        self._agreement.compare_padding(self._members, self._without_gradients)
        self.model.train(training)

    # what is told of a step

    def take(self) -> list[Rollout]:
        """Write the rows of the batch after its first step, and tell what they say; return those of all processes.

        Raises:
            UserError: the first batch shows that the sampler and the loss are not of one policy.
        """
        rows = self._recorder.take() if self._recorder else []
        learned = [row for row in rows if row.weight and row.sum_logprob is not None]
        if learned:
            means = [(row.sum_logprob or 0.0) / max(1, row.n_tokens) for row in learned]
            self._metrics["train"]["term/mean_logprob"].append(sum(means) / len(means))
            self._metrics["train"]["term/coefficient"].append(self._method.coefficient())
        if self._method.beside_at_most(self._recipe.settings):
            self._metrics["train"]["term/value"].append(self._value_of_term())
            self._term_norm = self._term_gradient.take(self.model, self.accelerator) if self._weighs else None
        gap = self._agreement.take(self.accelerator)
        if gap is not None:
            self._metrics["train"]["sampling/logprob_gap"].append(gap)
        return rows

    def log(self, logs: dict[str, float], *others: Any) -> None:
        """Tell the share of the term in the gradient beside the norm of the whole, where it was measured."""
        if self._term_norm is not None and logs.get("grad_norm"):
            logs = {**logs, "term/gradient_share": self._term_norm / float(logs["grad_norm"])}
        super().log(logs, *others)

    def _value_of_term(self) -> float:
        """Return the term of the step, without its coefficient: what its passes added up, a mean over processes."""
        value, self._term = self._term, 0.0
        if self.accelerator.num_processes == 1:
            return value
        return float(self.accelerator.gather(torch.tensor([value], device=self.accelerator.device)).mean())


_FILLER: dict[str, Any] = {
    "source": "filler", "group": 0, "index": 0, "sample_index": 0, "prompt_ids": [], "text": "", "finish_reason": None,
}  # fmt: skip


def _entropies(done: Pass) -> torch.Tensor:
    """Return -log pi of what was sampled, a token's mean in each row (B, T): on average it is the entropy."""
    means = [-(one.sum_logprob or 0.0) / len(one.token_ids) for one in done.members]
    return torch.tensor(means, device=done.mask.device)[:, None].expand(done.mask.shape)


def _sum(logprobs: Sequence[float | None]) -> float | None:
    known = [one for one in logprobs if one is not None]
    return sum(known) if len(known) == len(logprobs) else None
