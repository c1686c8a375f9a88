"""Several copies of one engine, each in an actor of Ray, behind the protocol of a single engine.

Ray places the actors and moves the results; here is only who works on what. Problems are handed out in shares that
become smaller towards the end. What a lost replica had in hand is given to the others, and a new one is asked for in
its place. Who draws a sample does not change it: each has a seed of its own.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Gauge, Generator, Request, SamplingParams, Scored, ScoreRequest
from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.replicas.cluster import connect, import_ray, resources
from expo_bench.engines.replicas.shares import Asked, Result, Work, key_of, next_share, remaining, undone
from expo_bench.engines.vocabulary import OwnTokenizer
from expo_bench.errors import EngineFailedError, UserError

_log = logging.getLogger(__name__)

_BATCH = 256
"""Samples that fill an engine's batch: a share has as many, unless that would leave a replica without work."""
_MOST_LOSSES = 3
"""Replicas that may be lost over one problem, or one after the other while they load the model."""
_PATIENCE_SECONDS = 600.0
"""How long a cluster may place no replica at all."""
_FLUSH_SECONDS = 0.2
_LOST = f"{_MOST_LOSSES} replicas were lost while they worked on this problem"


class Replica:
    """One engine in a process of its own; the class of the actors."""

    def __init__(self, load: Callable[[], Generator]) -> None:
        """Load nothing yet."""
        self._load = load

    def place(self) -> None:
        """Answer as soon as the actor runs."""

    def load(self) -> dict[str, Any]:
        """Load the model and return what the engine says of itself."""
        self._engine: Any = self._load()
        found: dict[str, Any] = self._engine.describe()
        return found

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[list[Completion]]:
        """Yield the completions, several at a time; see `base.Generator.generate`."""
        yield from _grouped(self._engine.generate(requests, params))

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[list[Scored]]:
        """Yield the scores, several at a time; see `base.Scorer.score`."""
        yield from _grouped(self._engine.score(requests))


def _grouped(results: Iterable[Any]) -> Iterator[list[Any]]:
    # a result that travels alone costs a millisecond
    group: list[Any] = []
    last = time.monotonic()
    for result in results:
        group.append(result)
        if time.monotonic() - last > _FLUSH_SECONDS:
            yield group
            group, last = [], time.monotonic()
    if group:
        yield group


@dataclass(slots=True)
class _Pool:
    """The actors by what they do; each is in one place."""

    placing: dict[Any, Any] = field(default_factory=dict)
    """What `place` will answer -> the actor."""
    loading: dict[Any, Any] = field(default_factory=dict)
    """What `load` will answer -> the actor."""
    idle: list[Any] = field(default_factory=list)
    working: dict[Any, tuple[Any, list[Work]]] = field(default_factory=dict)
    """Stream of results -> the actor and what it has in hand."""

    def actors(self) -> list[Any]:
        """Return all of them."""
        busy = [actor for actor, _ in self.working.values()]
        return [*self.placing.values(), *self.loading.values(), *self.idle, *busy]


class ReplicaEngine(OwnTokenizer):
    """Samples and scores with several engines of the same model at once."""

    def __init__(self, spec: EngineSpec, load: Callable[[], Generator]) -> None:
        """Join or start Ray, and wait for the first replica to have loaded the model.

        Args:
            spec: how many replicas, in which cluster, and the model's name in the manifest.
            load: loads the engine; called in the process of each replica.

        Raises:
            UserError: Ray is not installed or not reached, it has no room for so many replicas, or no model can be
                loaded.
        """
        self._ray = import_ray()
        self._spec, self._load, self._n = spec, load, spec.replicas or 1
        self._pool = _Pool()
        self.gauge = Gauge()
        self._described: dict[str, Any] = {}
        self._lost_in_loading = 0
        self._connected = not self._ray.is_initialized()
        if self._connected:
            connect(self._ray, spec.ray_address, self._n)
        try:
            self._actors = self._ray.remote(Replica).options(**resources(self._ray, self._n, spec.engine_options))
            self._fill()
            while not self._described:
                self._next_event()
        except BaseException:
            self.close()
            raise

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records: what each replica says of itself, with the model's name here."""
        return {**self._described, "name": self._spec.model}

    def close(self) -> None:
        """End the replicas, and Ray where it was started or joined here."""
        for actor in self._pool.actors():
            self._ray.kill(actor)
        self._pool = _Pool()
        if self._connected:
            self._ray.shutdown()

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(find_model(self._spec.model, self._spec.revision))

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        """Yield completions as they finish; see `base.Generator.generate`."""
        works = [Work(one, {(one.problem_id, index) for index in one.sample_indexes}) for one in requests]
        return self._stream(works, lambda actor, asked: actor.generate.remote(asked, params), _lost_completion)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        """Yield the likelihood of all continuations; see `base.Scorer.score`."""
        works = [Work(one, {(one.problem_id, part.key) for part in one.continuations}) for one in requests]
        return self._stream(works, lambda actor, asked: actor.score.remote(asked), _lost_scored)

    def _stream(
        self,
        works: Sequence[Work],
        ask: Callable[[Any, list[Asked]], Any],
        lost: Callable[[str, Any], Any],
    ) -> Iterator[Any]:
        """Yield the results of all works; `lost` makes those of a problem over which replica after replica was lost."""
        owners = {key: work for work in works for key in work.left}
        waiting = deque(works)
        least = min(_BATCH, math.ceil(len(owners) / self._n))
        self._fill()
        try:
            while waiting or self._pool.working:
                while waiting and self._pool.idle:
                    share = next_share(waiting, least, self._n)
                    actor = self._pool.idle.pop()
                    self._pool.working[ask(actor, [remaining(work) for work in share])] = actor, share
                results, returned = self._next_event()
                self.gauge.running = sum(len(work.left) for _, share in self._pool.working.values() for work in share)
                for result in results:
                    key = key_of(result)
                    owners[key].left.discard(key)
                    yield result
                for work in returned:
                    if work.losses < _MOST_LOSSES:
                        waiting.appendleft(work)
                    else:
                        yield from (lost(*key) for key in work.left)
        finally:
            # where the caller stops early: an actor does not put down what it has in hand
            for actor, _ in self._pool.working.values():
                self._ray.kill(actor)
            self._pool.working.clear()

    def _fill(self) -> None:
        """Ask Ray for as many replicas as are missing."""
        for _ in range(self._n - len(self._pool.actors())):
            actor = self._actors.remote(self._load)
            self._pool.placing[actor.place.remote()] = actor

    def _next_event(self) -> tuple[list[Result], list[Work]]:
        """Wait until something happens; return the results that it brought, and the works that came back undone.

        Raises:
            UserError: of a replica, as it is; no replica is placed or survives the loading.
        """
        pool, errors = self._pool, self._ray.exceptions
        event = self._wait()
        try:
            if event in pool.working:
                return self._receive(event)
            answer = self._ray.get(event)
        except errors.RayTaskError as error:
            if isinstance(error.cause, EngineFailedError):
                return [], self._lose(event, error.cause)
            raise error.cause if isinstance(error.cause, UserError) else error from None
        except errors.RayError as error:
            return [], self._lose(event, error)
        if event in pool.placing:
            actor = pool.placing.pop(event)
            pool.loading[actor.load.remote()] = actor
        else:
            pool.idle.append(pool.loading.pop(event))
            self._check(answer)
        return [], []

    def _wait(self) -> Any:
        pool, deadline = self._pool, time.monotonic() + _PATIENCE_SECONDS
        while True:
            events = [*pool.working, *pool.loading, *pool.placing]
            ready, _ = self._ray.wait(events, num_returns=1, timeout=5.0)
            if ready:
                return ready[0]
            if not pool.working and not pool.loading and time.monotonic() > deadline:
                raise UserError(
                    f"the Ray cluster placed none of {self._n} replicas in {_PATIENCE_SECONDS:g} s: it has "
                    f"{self._ray.cluster_resources()}; what is done is saved, the same command goes on from there"
                )

    def _receive(self, stream: Any) -> tuple[list[Result], list[Work]]:
        try:
            return self._ray.get(next(stream)), []
        except StopIteration:
            actor, share = self._pool.working.pop(stream)
            self._pool.idle.append(actor)
            return [], undone(share)

    def _lose(self, event: Any, error: Exception) -> list[Work]:
        """Take a lost actor out of the pool, ask for another, and return what it had in hand."""
        reason = " ".join(str(error).split())[:300]
        if event in self._pool.working:
            actor, share = self._pool.working.pop(event)
            _log.warning("a replica is lost, another takes its place: %s", reason)
        else:
            share = []
            actor = self._pool.placing.pop(event, None) or self._pool.loading.pop(event)
            self._lost_in_loading += 1
            if self._lost_in_loading >= _MOST_LOSSES * self._n:
                raise UserError(f"replica after replica is lost while it loads {self._spec.model}: {reason}") from None
        # where the engine alone broke down, its process still lives
        self._ray.kill(actor)
        self._fill()
        return undone(share)

    def _check(self, described: dict[str, Any]) -> None:
        """Take what a replica says of itself; all must say the same."""
        self._lost_in_loading = 0
        before = self._described or described
        differing = [name for name in before if described.get(name) != before[name]]
        if differing:
            raise UserError(
                f"replicas have loaded different things as {self._spec.model}: {', '.join(differing)} "
                f"({before[differing[0]]}, {described.get(differing[0])}); all nodes need the same files and packages"
            )
        self._described = before


def _lost_completion(problem_id: str, sample_index: int) -> Completion:
    return Completion.failed(problem_id, sample_index, _LOST)


def _lost_scored(problem_id: str, key: str) -> Scored:
    return Scored.failed(problem_id, key, _LOST)
