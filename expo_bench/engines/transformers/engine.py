"""The engine on transformers: one process, CPU or one GPU; it samples and it scores.

Sampling is continuous batching over a key-value cache of slots: a prompt is computed once for all its samples, a
finished sample leaves the batch at once and a waiting one takes its place. When memory runs out the batch is halved and
the samples that had to go are begun again later; each has its own stream of random numbers, so they come out the same.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import transformers
from pydantic import Field

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Continuation, Gauge, Request, SamplingParams, Scored, ScoreRequest
from expo_bench.engines.digest import text_digest, weights_digest
from expo_bench.engines.loading import SMALL, find_model, load_model, load_tokenizer
from expo_bench.engines.memory import is_out_of_memory
from expo_bench.engines.rendering import end_ids, prompt_ids
from expo_bench.engines.transformers.batching import Batch, Prompt, Running, failed
from expo_bench.engines.transformers.packing import packed
from expo_bench.engines.transformers.prefixes import Prefixes
from expo_bench.engines.transformers.scoring import score_prompt
from expo_bench.engines.transformers.slots import Slots, install, next_logits
from expo_bench.engines.vocabulary import OwnTokenizer
from expo_bench.errors import UserError
from expo_bench.settings import Settings

_PADDED_TOKENS = 4096
_EMPTY = "the prompt has no tokens"


class Options(Settings):
    """What `engine_options` may hold."""

    batch_size: int = Field(default=128, ge=1)
    """Samples at once."""
    device: str = "auto"
    """A torch device; auto: the GPU where there is one."""


class TransformersEngine(OwnTokenizer):
    """Samples from a causal language model of the transformers library."""

    def __init__(self, spec: EngineSpec) -> None:
        """Load the model.

        Raises:
            UserError: unknown option, or the model cannot be loaded or run by this engine.
        """
        options = spec.options_as(Options)
        template = spec.template
        self._name = spec.model
        self._files = find_model(spec.model, spec.revision)
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
        self._model = load_model(self._files, spec.dtype, self.device)
        self._threads = torch.get_num_threads()
        if self.device == "cpu" and self._model.num_parameters() < SMALL:
            # threads that wait for each other at every tiny product cost more than they do, 30 times on a busy machine
            torch.set_num_threads(1)
        install(self._model)
        self._tokenizer = load_tokenizer(self._files)
        if template is not None:
            self._tokenizer.chat_template = template
        self._enable_thinking = spec.enable_thinking
        self.gauge = Gauge()
        self.batch_size = options.batch_size
        self._prefixes = Prefixes()
        self._packed: ExitStack | None = None
        self._ends = end_ids(self._model, self._tokenizer)
        self._context = getattr(self._model.config, "max_position_embeddings", None) or 2**31

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records."""
        weights = Path(self._files.path, self._files.gguf_file) if self._files.gguf_file else self._files.path
        return {
            "name": self._name,
            "revision": self._files.revision or getattr(self._model.config, "_commit_hash", None),
            "weights_digest": weights_digest(str(weights), self._files.revision),
            "chat_template_digest": text_digest(self._tokenizer.chat_template or ""),
            "engine": "transformers",
            "engine_version": transformers.__version__,
            "torch_version": torch.__version__,
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": self.device,
            "batch_size": self.batch_size,
        }

    def close(self) -> None:
        """Free the model."""
        if self._packed:
            self._packed.close()
        del self._model, self._prefixes
        torch.set_num_threads(self._threads)
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def finished(self, row: Running, stop: tuple[str, ...]) -> Completion | None:
        """Return the completion if its last token ended it."""
        ended = row.tokens[-1] in self._ends
        stopped = None if ended or not stop else self._stop_at(row.tokens, stop)
        full = len(row.tokens) >= row.prompt.room
        if not (ended or full or stopped is not None):
            return None
        ids = row.tokens[:-1] if ended else row.tokens
        text = self._tokenizer.decode(ids, skip_special_tokens=True) if stopped is None else stopped
        return Completion(
            problem_id=row.prompt.request.problem_id,
            sample_index=row.prompt.request.sample_indexes[row.place],
            text=text,
            token_ids=tuple(row.tokens),
            n_tokens=len(row.tokens),
            finish_reason="stop" if ended or stopped is not None else "length",
            sum_logprob=row.logprob,
        )

    def _stop_at(self, tokens: list[int], stop: tuple[str, ...]) -> str | None:
        """Return the text before the first stop string, if the newest token completed one."""
        # only the tail can hold a new one; a token is at least a byte, so this many tokens reach past it
        tail = self._tokenizer.decode(tokens[-4 * max(map(len, stop)) - 4 :], skip_special_tokens=True)
        if not any(string in tail for string in stop):
            return None
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        places = [place for string in stop if (place := text.find(string)) >= 0]
        return text[: min(places)] if places else None

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        """Yield completions as they finish; see `base.Generator.generate`."""
        prompts = []
        for request in requests:
            ids = prompt_ids(self._tokenizer, request, self._enable_thinking)
            room = min(params.max_tokens, self._context - len(ids))
            prompt = Prompt(request, ids, room, deque(range(len(request.seeds))))
            if room < 1 or not ids:
                error = f"the prompt has {len(ids)} tokens, the model's context {self._context}" if ids else _EMPTY
                yield from (failed(prompt, place, error) for place in prompt.waiting)
            else:
                prompts.append(prompt)
        if self._packed is None:
            # its weights never change; who only scores has no copy of them
            self._packed = ExitStack()
            self._packed.enter_context(packed(self._model))
        batch = Batch(self, prompts, params)
        while batch.queue or batch.running:
            done = list(batch.advance())
            self.gauge.running = len(batch.running)
            self.gauge.tokens = sum(len(row.tokens) for row in batch.running)
            yield from done

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        """Yield the likelihood of all continuations; see `base.Scorer.score`."""
        padded_tokens = _PADDED_TOKENS
        for request in requests:
            prompt = prompt_ids(self._tokenizer, request, self._enable_thinking)
            vocabulary = self._vocabulary if any(one.marks for one in request.continuations) else None
            left = {}
            for one in request.continuations:
                if reason := self._unfit(request, prompt, one):
                    yield Scored.failed(request.problem_id, one.key, reason)
                else:
                    left[one.key] = one
            while left:
                # an answer's other ways to be written are asked for in later requests
                prefixes = self._prefixes if vocabulary else None
                try:
                    for scored in score_prompt(
                        self._model,
                        request.problem_id,
                        prompt,
                        list(left.values()),
                        padded_tokens,
                        vocabulary,
                        prefixes,
                    ):
                        del left[scored.key]
                        yield scored
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                    # what is kept costs least to go without
                    if prefixes and prefixes.keeps:
                        self._prefixes = Prefixes(0)
                        continue
                    first = next(iter(left.values()))
                    if len(left) > 1 and padded_tokens > len(first.token_ids):
                        padded_tokens //= 2
                        continue
                    del left[first.key]
                    length = len(prompt) + len(first.token_ids)
                    yield Scored.failed(request.problem_id, first.key, f"out of memory with its {length} tokens alone")

    def _unfit(self, request: ScoreRequest, prompt: list[int], one: Continuation) -> str | None:
        if not prompt or len(one.token_ids) <= one.given:
            raise UserError(f"{request.problem_id}, {one.key}: an empty prompt or nothing to score")
        length = len(prompt) + len(one.token_ids)
        if length <= self._context:
            return None
        return f"{length} tokens with the prompt, the model's context is {self._context}"

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, slots: Slots) -> torch.Tensor:
        """Logits (B, V) after the last of ids (B, S), which stand at positions (B, S)."""
        return next_logits(self._model, ids, positions, slots)
