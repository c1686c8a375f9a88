"""What every request to a server needs: the client, attempts and pauses, requests in flight, errors without the key."""

import asyncio
import json
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from expo_bench.engines.backoff import retry_delay
from expo_bench.engines.server_address import read_key, without_secrets
from expo_bench.engines.server_messages import MalformedReply, error_text
from expo_bench.errors import UserError

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class Connection:
    """A model behind an OpenAI-compatible endpoint."""

    def __init__(self, url: str, model: str, *, concurrency: int, timeout_seconds: float, max_retries: int) -> None:
        """Look the model up on the server; arguments as in `ServerEngine`.

        Raises:
            UserError: openai is not installed, a number is out of range, or the server does not answer or refuses the
                key.
        """
        if not isinstance(concurrency, int) or concurrency < 1 or max_retries < 0 or timeout_seconds <= 0:
            raise UserError("concurrency must be at least 1, max_retries at least 0, timeout_seconds above 0")
        self.openai = _import_openai()
        self.url = url
        self.shown_url = without_secrets(url)
        self._key = read_key()
        self.client_arguments = {
            "base_url": url,
            "api_key": self._key,
            "timeout": self.openai.Timeout(timeout_seconds, connect=10),
            # the library would not try a malformed answer again, so all retries are made here
            "max_retries": 0,
        }
        self.model = model
        self._concurrency = concurrency
        self._timeout_seconds = timeout_seconds
        self.max_retries = max_retries
        self.failures = (self.openai.APIError, TimeoutError, MalformedReply)
        """What a request may end with."""
        self.card = self._look_up()
        """What the server says of the model; nothing where it lists no models."""

    def _look_up(self) -> dict[str, Any]:
        with self.openai.OpenAI(**self.client_arguments) as client:
            try:
                raw = client.with_options(max_retries=2, timeout=30).models.with_raw_response.list()
                cards = json.loads(raw.content)["data"]
                return next((card for card in cards if card["id"] == self.model), {})
            except self.openai.AuthenticationError as error:
                raise self.user_error(error) from None
            except self.openai.APIConnectionError:
                raise UserError(f"no server answers at {self.shown_url}: is it running, is the port right?") from None
            except (self.openai.OpenAIError, ValueError, RecursionError, LookupError, TypeError):
                return {}

    def stream(
        self,
        jobs: Iterable[_Job],
        work: Callable[[Any, _Job], Awaitable[_Result]],
        first: Callable[[Any], Awaitable[None]] | None = None,
    ) -> Iterator[_Result]:
        """Yield what `work` makes of each job, in any order; a few jobs are in hand at a time.

        `work` is given the asynchronous client and a job, in the event loop of a thread of its own; so is `first`,
        before any job. What they raise ends the iteration.
        """
        done: queue.SimpleQueue[tuple[_Result] | BaseException | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._work_all(iter(jobs), work, first, done.put))

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
        self,
        jobs: Iterator[_Job],
        work: Callable[[Any, _Job], Awaitable[_Result]],
        first: Callable[[Any], Awaitable[None]] | None,
        put: Callable[[tuple[_Result]], None],
    ) -> None:
        async with self.openai.AsyncOpenAI(**self.client_arguments) as client:
            if first is not None:
                await first(client)

            async def worker() -> None:
                for job in jobs:
                    put((await work(client, job),))

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._concurrency):
                        group.create_task(worker())
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def ask(self, create: Callable[..., Awaitable[Any]], body: Any, read: Callable[[bytes], _Result]) -> _Result:
        """Send one request and read its answer, again where that may help; the last failure is raised.

        Args:
            create: an endpoint's `with_raw_response.create`.
            body: its arguments.
            read: the body of the answer -> the result; a MalformedReply is tried again.
        """
        for attempt in range(self.max_retries + 1):
            try:
                # the library's time-out is reset by each byte
                async with asyncio.timeout(self._timeout_seconds):
                    raw = await create(**body)
                return read(raw.content)
            except self.openai.APIStatusError as error:
                passing = error.status_code in (408, 409, 425, 429) or error.status_code >= 500
                if not passing or is_hopeless(error) or attempt == self.max_retries:
                    raise
                delay = retry_delay(attempt, error.response.headers.get("retry-after"))
            except self.failures:
                if attempt == self.max_retries:
                    raise
                delay = retry_delay(attempt)
            await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def check_presence(self, client: Any) -> None:
        """Raise a UserError if the server is gone: each further request would only fail after all its retries."""
        try:
            await client.with_options(timeout=30).models.with_raw_response.list()
        except self.openai.APIError as error:
            if getattr(error, "status_code", 502) in (502, 503, 504):
                raise UserError(
                    f"{self.shown_url} answers no more; what is done is saved, the same command goes on from there"
                ) from None

    def user_error(self, error: Any) -> UserError:
        """Return what ends the run where no request gets past an HTTP status."""
        if error.status_code == 401:
            return UserError(f"{self.shown_url} refuses the key: set OPENAI_API_KEY to one that it takes")
        return UserError(f"{self.shown_url} does not serve {self.model}: {self.reason(error)}")

    def reason(self, error: Exception) -> str:
        """Return one short line that does not hold the key."""
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_seconds:g} s"
        if isinstance(error, self.openai.APIStatusError):
            text = f"HTTP {error.status_code}: {error_text(error.response.content)}"
        else:
            text = f"{type(error).__name__}: {error}"
        return " ".join(text.replace(self._key, "***").split())[:300]


def is_hopeless(error: Exception) -> bool:
    """Tell what every request would meet; a used-up account is status 429, like a rate that passes."""
    return (
        getattr(error, "status_code", None) in (401, 402, 404) or getattr(error, "code", None) == "insufficient_quota"
    )


def _import_openai() -> Any:
    try:
        import openai
    except ImportError as error:
        raise UserError("the server engine needs the openai package: pip install 'expo-bench[server]'") from error
    return openai
