"""Continuous batching: which samples run, which wait, and what happens when memory runs out."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.engines.memory import is_out_of_memory
from expo_bench.engines.transformers.slots import Slots
from expo_bench.engines.transformers.token_sampling import choose

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Running:
    """A sample that is being written."""

    prompt: "Prompt"
    place: int
    """Which of the request's samples."""
    random: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0


@dataclass(slots=True)
class Prompt:
    """A request with the samples that still wait for a slot."""

    request: Request
    ids: list[int]
    room: int
    """How many tokens a completion may have."""
    waiting: deque[int]


class Policy(Protocol):
    """What the batch needs of the engine."""

    batch_size: int
    device: str

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, slots: Slots) -> torch.Tensor:
        """Logits (B, V) after the last of ids (B, S), which stand at positions (B, S)."""
        ...

    def finished(self, row: Running, stop: tuple[str, ...]) -> Completion | None:
        """Return the completion if its last token ended it."""
        ...


class Batch:
    """The samples of one `generate` call: those that wait and those that run, in the order of their slots."""

    def __init__(self, engine: Policy, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        self._engine = engine
        self._params = params
        self._limit = engine.batch_size
        # every step attends over the longest running sample's length: neighbours in length waste the least
        self.queue = deque(sorted(prompts, key=lambda prompt: len(prompt.ids)))
        self._slots = Slots(min(self._limit, sum(len(prompt.waiting) for prompt in prompts)))
        self.running: list[Running] = []

    def advance(self) -> Iterator[Completion]:
        """Admit what fits, write one token of each running sample, and yield those that ended."""
        try:
            while self.queue and self._has_room():
                yield from self._admit(self.queue[0])
            if self.running:
                yield from self._step()
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # not among the lines above: as long as the error is handled, it holds the tensors of the pass that failed
        yield from self._halve()

    def _has_room(self) -> bool:
        # a prompt whose samples only trickle in is computed again each time, so small gaps wait until they are larger
        wanted = min(len(self.queue[0].waiting), max(1, self._limit // 8))
        return self._limit - len(self.running) >= wanted

    def _admit(self, prompt: Prompt) -> Iterator[Completion]:
        copies = min(self._limit - len(self.running), len(prompt.waiting))
        ids = torch.tensor([prompt.ids], device=self._engine.device)
        self._slots.begin_prefill()
        logits = self._engine.forward(ids, torch.arange(ids.shape[1], device=ids.device)[None], self._slots)
        self._slots.adopt(len(prompt.ids), copies)
        places = [prompt.waiting.popleft() for _ in range(copies)]
        self.running += [
            Running(prompt, place, np.random.Generator(np.random.Philox(prompt.request.seeds[place])))
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
            yield failed(prompt, place, "out of memory with a single sample at once")
            return
        self._limit = max(1, (len(self.running) or self._limit) // 2)
        # samples without a token are those whose prompt was just computed: they stand at the end
        self._keep(min(self._limit, sum(bool(row.tokens) for row in self.running)))
        _log.warning("out of memory: going on with %d samples at once", self._limit)

    def _keep(self, n_rows: int) -> None:
        """Begin all but the first `n_rows` samples again later."""
        for row in self.running[n_rows:]:
            row.prompt.waiting.append(row.place)
            if row.prompt not in self.queue:
                self.queue.appendleft(row.prompt)
        try:
            self._drop(n_rows)
        except (MemoryError, RuntimeError) as error:
            if not (n_rows and is_out_of_memory(error)):
                raise
            # what stays is copied, and even that did not fit
            self._keep(0)

    def _drop(self, keep: int) -> None:
        del self.running[keep:]
        self._slots.shrink(keep)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def failed(prompt: Prompt, place: int, error: str) -> Completion:
    """Return the "error" completion of one sample."""
    return Completion.failed(prompt.request.problem_id, prompt.request.sample_indexes[place], error)
