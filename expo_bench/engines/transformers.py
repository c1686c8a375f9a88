"""The engine on transformers: one process, CPU or one GPU.

Continuous batching over a key-value cache of slots: a prompt is computed once for all its samples, a finished sample
leaves the batch at once and a waiting one takes its place. When memory runs out the batch is halved and the samples
that had to go are begun again later; each has its own stream of random numbers, so they come out the same.
"""

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.engines.digest import text_digest, weights_digest
from expo_bench.engines.loading import find_model, load_model, load_tokenizer
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.slots import Slots, install
from expo_bench.engines.token_sampling import choose
from expo_bench.errors import UserError

_EMPTY = "the prompt has no tokens"
_log = logging.getLogger(__name__)
_OPTIONS = {"batch_size": 128, "device": "auto"}


@dataclass(slots=True)
class _Running:
    """A sample that is being written."""

    prompt: "_Prompt"
    place: int
    """Which of the request's samples."""
    random: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0


@dataclass(slots=True)
class _Prompt:
    """A request with the samples that still wait for a slot."""

    request: Request
    ids: list[int]
    room: int
    """How many tokens a completion may have."""
    waiting: deque[int]


class TransformersEngine:
    """Samples from a causal language model of the transformers library."""

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        chat_template: str | None = None,
        enable_thinking: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: `micro`, a folder, a GGUF file or a hub id.
            revision: of the hub's repository.
            dtype: see `loading.load_model`.
            chat_template: a template in place of the tokenizer's own.
            enable_thinking: handed to the chat template where not None.
            options: `batch_size` (samples at once) and `device` (a torch device, or "auto").

        Raises:
            UserError: unknown option, or the model cannot be loaded or run by this engine.
        """
        chosen = {**_OPTIONS, **(options or {})}
        if unknown := set(chosen) - set(_OPTIONS):
            raise UserError(
                f"the transformers engine has no option {', '.join(sorted(unknown))}; it has {', '.join(_OPTIONS)}"
            )
        self._name = model
        self._files = find_model(model, revision)
        self.device = (
            ("cuda" if torch.cuda.is_available() else "cpu") if chosen["device"] == "auto" else chosen["device"]
        )
        self._model = load_model(self._files, dtype, self.device)
        install(self._model)
        self._tokenizer = load_tokenizer(self._files)
        if chat_template is not None:
            self._tokenizer.chat_template = chat_template
        self._enable_thinking = enable_thinking
        self.batch_size = int(chosen["batch_size"])
        self._ends = _end_ids(self._model, self._tokenizer)
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
        del self._model
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def finished(self, row: _Running, stop: tuple[str, ...]) -> Completion | None:
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
            prompt = _Prompt(request, ids, room, deque(range(len(request.seeds))))
            if room < 1 or not ids:
                error = f"the prompt has {len(ids)} tokens, the model's context {self._context}" if ids else _EMPTY
                yield from (_failed(prompt, place, error) for place in prompt.waiting)
            else:
                prompts.append(prompt)
        batch = _Batch(self, prompts, params)
        while batch.queue or batch.running:
            yield from batch.advance()

    @torch.inference_mode()
    def forward(self, ids: torch.Tensor, positions: torch.Tensor, slots: Slots) -> torch.Tensor:
        """Logits (B, V) after the last of ids (B, S), which stand at positions (B, S)."""
        out = self._model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=1, slots=slots)
        return out.logits[:, -1]  # type: ignore[no-any-return]


class _Batch:
    """The samples of one `generate` call: those that wait and those that run, in the order of their slots."""

    def __init__(self, engine: TransformersEngine, prompts: Sequence[_Prompt], params: SamplingParams) -> None:
        self._engine = engine
        self._params = params
        self._limit = engine.batch_size
        self.queue = deque(prompts)
        self._slots = Slots(min(self._limit, sum(len(prompt.waiting) for prompt in prompts)))
        self.running: list[_Running] = []

    def advance(self) -> Iterator[Completion]:
        """Admit what fits, write one token of each running sample, and yield those that ended."""
        try:
            while self.queue and self._has_room():
                yield from self._admit(self.queue[0])
            if self.running:
                yield from self._step()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            yield from self._halve()

    def _has_room(self) -> bool:
        # a prompt whose samples only trickle in is computed again each time, so small gaps wait until they are larger
        wanted = min(len(self.queue[0].waiting), max(1, self._limit // 8))
        return self._limit - len(self.running) >= wanted

    def _admit(self, prompt: _Prompt) -> Iterator[Completion]:
        copies = min(self._limit - len(self.running), len(prompt.waiting))
        ids = torch.tensor([prompt.ids], device=self._engine.device)
        self._slots.begin_prefill()
        logits = self._engine.forward(ids, torch.arange(ids.shape[1], device=ids.device)[None], self._slots)
        self._slots.adopt(len(prompt.ids), copies)
        places = [prompt.waiting.popleft() for _ in range(copies)]
        self.running += [
            _Running(prompt, place, np.random.Generator(np.random.Philox(prompt.request.seeds[place])))
            for place in places
        ]
        if not prompt.waiting:
            self.queue.popleft()
        yield from self._extend(logits.expand(copies, -1), len(self.running) - copies)

    def _step(self) -> Iterator[Completion]:
        positions = [len(row.prompt.ids) + len(row.tokens) - 1 for row in self.running]
        position = torch.tensor(positions, device=self._engine.device)
        ids = torch.tensor([row.tokens[-1] for row in self.running], device=self._engine.device)
        self._slots.begin_step(position, max(positions))
        yield from self._extend(self._engine.forward(ids[:, None], position[:, None], self._slots), 0)

    def _extend(self, logits: torch.Tensor, first: int) -> Iterator[Completion]:
        """Add a token to the running samples from `first` on, one row of logits each; yield those that ended."""
        rows = self.running[first:]
        uniforms = torch.tensor([row.random.random() for row in rows], device=logits.device, dtype=torch.float32)
        tokens, logprobs = choose(logits, uniforms, self._params.temperature, self._params.top_p)
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.tokens.append(token)
            row.logprob += logprob
        # from the end: a slot that is freed is filled with the last one, which has been looked at by then
        for slot in range(len(self.running) - 1, first - 1, -1):
            done = self._engine.finished(self.running[slot], self._params.stop)
            if done is not None:
                self._slots.release(slot)
                self.running[slot] = self.running[-1]
                self.running.pop()
                yield done

    def _halve(self) -> Iterator[Completion]:
        """Give up half of the batch after memory ran out; what is given up is begun again later."""
        if self._limit <= 1 or (not self.running and not self.queue):
            prompt = self.running[0].prompt if self.running else self.queue[0]
            place = self.running[0].place if self.running else prompt.waiting.popleft()
            self._drop(0)
            if prompt in self.queue and not prompt.waiting:
                self.queue.remove(prompt)
            yield _failed(prompt, place, "out of memory with a single sample at once")
            return
        self._limit = max(1, min(self._limit, max(len(self.running), 1)) // 2)
        for row in self.running[self._limit :]:
            row.prompt.waiting.append(row.place)
            if row.prompt not in self.queue:
                self.queue.appendleft(row.prompt)
        self._drop(self._limit)
        _log.warning("out of memory: going on with %d samples at once", self._limit)

    def _drop(self, keep: int) -> None:
        del self.running[keep:]
        self._slots.shrink(keep)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # the CPU allocator has no exception of its own
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)


def _failed(prompt: _Prompt, place: int, error: str) -> Completion:
    return Completion(
        problem_id=prompt.request.problem_id,
        sample_index=prompt.request.sample_indexes[place],
        text="",
        token_ids=None,
        n_tokens=0,
        finish_reason="error",
        sum_logprob=None,
        error=error,
    )


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)
