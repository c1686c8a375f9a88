"""Rollouts of a policy in training, drawn by the engine that evaluation uses.

Each rollout has a seed of its own, so it does not depend on the batch, on the number of processes, on whether
explanations are drawn beside it, or on a restart in between. A prompt is computed once for all its rollouts.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.engines.transformers.batching import Batch, Prompt, Running
from expo_bench.engines.transformers.packing import packed
from expo_bench.engines.transformers.slots import Slots, install, next_logits
from expo_bench.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A prompt and the seeds of the rollouts wanted of it."""

    prompt_ids: list[int]
    seeds: tuple[int, ...]


_BATCH = 512
"""Rollouts at once, until memory runs out."""


class SlotSampler:
    """Draws from a transformers model that is trained in between."""

    def __init__(self, end_ids: frozenset[int], params: SamplingParams) -> None:
        self.batch_size = _BATCH
        self.device = "cpu"
        self._ends = end_ids
        self._params = params
        self._model: Any = None

    def draw(self, model: Any, draws: Sequence[Draw]) -> list[list[Completion]]:
        """Return the completions of each prompt in the order of its seeds, without their texts.

        Args:
            model: a transformers model, adapters allowed; its attention and mode are restored afterwards.
            draws: prompts with seeds.

        Raises:
            UserError: memory runs out with a single rollout at once.
        """
        attention, training = model.config._attn_implementation, model.training
        self._model, self.device = model, str(model.device)
        found: list[list[Completion | None]] = [[None] * len(one.seeds) for one in draws]
        install(model)
        model.eval()
        try:
            with packed(model):
                batch = Batch(self, self._prompts(draws), self._params)
                while batch.queue or batch.running:
                    for done in batch.advance():
                        if done.error is not None:
                            # an empty rollout would be learned from
                            raise UserError(f"a rollout cannot be drawn: {done.error}; set a smaller max_tokens")
                        found[int(done.problem_id)][done.sample_index] = done
        finally:
            model.set_attn_implementation(attention)
            model.train(training)
            self._model = None
        return [[one for one in listed if one is not None] for listed in found]

    def _prompts(self, draws: Sequence[Draw]) -> list[Prompt]:
        prompts = []
        for number, one in enumerate(draws):
            places = tuple(range(len(one.seeds)))
            request = Request(problem_id=str(number), messages=(), sample_indexes=places, seeds=one.seeds)
            prompts.append(Prompt(request, one.prompt_ids, self._params.max_tokens, deque(places)))
        return prompts

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, slots: Slots) -> torch.Tensor:
        """Logits (B, V) after the last of ids (B, S), which stand at positions (B, S)."""
        return next_logits(self._model, ids, positions, slots)

    def finished(self, row: Running, stop: tuple[str, ...]) -> Completion | None:
        """Return the completion if its last token ended it."""
        ended = row.tokens[-1] in self._ends
        if not ended and len(row.tokens) < row.prompt.room:
            return None
        return Completion(
            problem_id=row.prompt.request.problem_id,
            sample_index=row.place,
            text="",
            token_ids=tuple(row.tokens),
            n_tokens=len(row.tokens),
            finish_reason="stop" if ended else "length",
            sum_logprob=row.logprob,
        )
