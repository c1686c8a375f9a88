"""Requests to the endpoints of a model: many at once, each where the fewest are, again where that helps."""

import asyncio
import math
import queue
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from expo_bench.engines.server.backoff import retry_delay
from expo_bench.engines.server.connection import Connection, Endpoint, is_absence, may_pass
from expo_bench.errors import UserError

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")
_PRESENCE_SECONDS = 30.0


@dataclass(eq=False, slots=True)
class _Line:
    """One endpoint during a call."""

    endpoint: Endpoint
    client: Any
    places: asyncio.Semaphore
    """One a request in flight."""
    load: int = 0
    """Requests that are in flight or wait for a place."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked_at: float = -math.inf
    """When it was last found out whether the endpoint is there."""


class Pool:
    """The endpoints of a model during one call, each with a client and `concurrency` places."""

    def __init__(self, server: Connection, clients: Iterable[Any]) -> None:
        """Take one asynchronous client for each of the server's endpoints."""
        self._server = server
        self._lines = [
            _Line(endpoint, client, asyncio.Semaphore(server.options.concurrency))
            for endpoint, client in zip(server.endpoints, clients, strict=True)
        ]

    async def ask(
        self, create: Callable[[Any], Callable[..., Awaitable[Any]]], body: Any, read: Callable[[bytes], _Result]
    ) -> _Result:
        """Send one request and read its answer, again where that may help; the last failure is raised.

        An attempt at an endpoint that turns out to be gone does not count where another is there.

        Args:
            create: a client -> its `with_raw_response.create`.
            body: the arguments of that.
            read: the body of the answer -> the result; a MalformedReply is tried again.
        """
        attempt, failed_at = 0, None
        while True:
            await self._ask_again()
            async with self._place(but=failed_at) as line:
                try:
                    # the library's time-out is reset by each byte
                    async with asyncio.timeout(self._server.options.timeout_seconds):
                        raw = await create(line.client)(**body)
                    return read(raw.content)
                except self._server.failures as error:
                    failure = error
            failed_at = line
            if is_absence(failure) and await self._is_left_out(line):
                continue
            if attempt == self._server.options.max_retries or not may_pass(failure):
                raise failure
            await asyncio.sleep(self._delay(failure, attempt))
            attempt += 1

    async def check_presence(self) -> None:
        """Raise a UserError if no endpoint answers: each further request would only fail after all its retries."""
        for line in self._lines:
            if line.endpoint.ask_again_at < math.inf and await self._card(line) is not None:
                return
        raise UserError(
            f"{self._server.shown_url} answers no more; what is done is saved, the same command goes on from there"
        )

    @asynccontextmanager
    async def _place(self, but: _Line | None) -> AsyncIterator[_Line]:
        """Wait for a place at the endpoint with the fewest requests, if there is a choice not at `but`."""
        while True:
            within = [line for line in self._lines if not line.endpoint.out]
            line = min([line for line in within if line is not but] or within, key=lambda line: line.load)
            line.load += 1
            try:
                async with line.places:
                    # it may have gone while this one waited
                    if not line.endpoint.out:
                        yield line
                        return
            finally:
                line.load -= 1

    def _delay(self, failure: Any, attempt: int) -> float:
        response = getattr(failure, "response", None)
        # what a server asks for is no reason to keep a request from another
        if response is None or len(self._server.within) > 1:
            return retry_delay(attempt)
        return retry_delay(attempt, response.headers.get("retry-after"))

    async def _is_left_out(self, line: _Line) -> bool:
        """Tell whether an endpoint that has just failed is gone, and another is there in its place."""
        if len(self._lines) == 1:
            return False
        failed_at = time.monotonic()
        async with line.asking:
            # requests that failed together ask once
            if not line.endpoint.out and line.asked_at <= failed_at:
                if await self._card(line) is None:
                    if len(self._server.within) == 1:
                        await self._ask_again(at_once=True)
                    self._server.leave_out(line.endpoint)
                line.asked_at = time.monotonic()
            return line.endpoint.out

    async def _ask_again(self, *, at_once: bool = False) -> None:
        """Take endpoints back that were left out and answer again."""
        for line in self._lines:
            endpoint, now = line.endpoint, time.monotonic()
            if endpoint.out and (now >= endpoint.ask_again_at or (at_once and endpoint.ask_again_at < math.inf)):
                # put off first, so that other requests go on meanwhile
                endpoint.put_off()
                card = await self._card(line)
                if card is not None:
                    self._server.take_back(endpoint, card)

    async def _card(self, line: _Line) -> dict[str, Any] | None:
        """Return what an endpoint says of the model, None where it is gone."""
        try:
            raw = await line.client.with_options(timeout=_PRESENCE_SECONDS).models.with_raw_response.list()
        except self._server.openai.APIError as error:
            return None if is_absence(error) else {}
        return self._server.read_card(raw.content)


def stream(
    server: Connection,
    jobs: Iterable[_Job],
    work: Callable[[Pool, _Job], Awaitable[_Result]],
    first: Callable[[Pool], Awaitable[None]] | None = None,
) -> Iterator[_Result]:
    """Yield what `work` makes of each job, in any order; a few jobs are in hand at a time.

    `work` is given the endpoints and a job, in the event loop of a thread of its own; so is `first`, before any job.
    What they raise ends the iteration.
    """
    done: queue.SimpleQueue[tuple[_Result] | BaseException | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    task = loop.create_task(_work_all(server, iter(jobs), work, first, done.put))

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="expo-bench server engine", daemon=True)
    thread.start()
    try:
        while (item := done.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


async def _work_all(
    server: Connection,
    jobs: Iterator[_Job],
    work: Callable[[Pool, _Job], Awaitable[_Result]],
    first: Callable[[Pool], Awaitable[None]] | None,
    put: Callable[[tuple[_Result]], None],
) -> None:
    async with AsyncExitStack() as stack:
        pool = Pool(
            server,
            [
                await stack.enter_async_context(server.openai.AsyncOpenAI(**server.client_arguments(endpoint)))
                for endpoint in server.endpoints
            ],
        )
        if first is not None:
            await first(pool)

        async def worker() -> None:
            for job in jobs:
                put((await work(pool, job),))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(server.options.concurrency * len(server.endpoints)):
                    group.create_task(worker())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
