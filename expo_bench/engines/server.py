"""The engine on any server that speaks OpenAI's HTTP interface.

Each sample is one HTTP request with its own seed. A few workers send them from an event loop in a thread of its own,
and completions come back through a queue as they finish. What can pass is tried again; what cannot ends that sample as
an "error" completion; what would end every sample stops the run with one clear line.
"""

import asyncio
import json
import logging
import queue
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from expo_bench.engines.backoff import retry_delay
from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.engines.server_address import read_key, without_secrets
from expo_bench.engines.server_messages import (
    VLLM_NEUTRAL,
    MalformedReply,
    completion,
    error_text,
    failed,
    request_body,
)
from expo_bench.errors import UserError
from expo_bench.prompts import Message

_log = logging.getLogger(__name__)
_TOO_LONG = re.compile(r"context.?(length|window|size)|reduce the length", re.IGNORECASE)
_Job = tuple[Request, int, int]


class ServerEngine:
    """Samples from a model behind an OpenAI-compatible endpoint."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        concurrency: int = 32,
        timeout_seconds: float = 600,
        max_retries: int = 6,
        logprobs: bool = True,
        enable_thinking: bool | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        """Look the model up on the server. The key is taken from OPENAI_API_KEY.

        Args:
            url: the endpoint, for instance http://127.0.0.1:8000/v1.
            model: its name there.
            concurrency: requests in flight at once.
            timeout_seconds: of one attempt, to the last byte of the answer.
            max_retries: attempts after the first.
            logprobs: ask for log-probabilities.
            enable_thinking: handed to the server's chat template where not None.
            extra_body: further fields of each request.
            unknown: refused.

        Raises:
            UserError: openai is not installed, an option is unknown, or the server does not answer or refuses the key.
        """
        if unknown:
            raise UserError(f"the server engine has no option {min(unknown)}")
        if not isinstance(concurrency, int) or concurrency < 1 or max_retries < 0 or timeout_seconds <= 0:
            raise UserError("concurrency must be at least 1, max_retries at least 0, timeout_seconds above 0")
        self._openai = _import_openai()
        self._shown_url = without_secrets(url)
        self._key = read_key()
        self._client_arguments = {
            "base_url": url,
            "api_key": self._key,
            "timeout": self._openai.Timeout(timeout_seconds, connect=10),
            # the library would not try a malformed answer again, so all retries are made here
            "max_retries": 0,
        }
        self._model = model
        self._concurrency = concurrency
        self._timeout_seconds = timeout_seconds
        self._max_retries = max_retries
        self._logprobs = logprobs
        self._limit_name = "max_tokens"
        self._enable_thinking = enable_thinking
        self._card = self._look_up()
        self._extra_body = {**(VLLM_NEUTRAL if self._card.get("owned_by") == "vllm" else {}), **(extra_body or {})}

    def _look_up(self) -> dict[str, Any]:
        """Return what the server says of the model; nothing where it lists no models."""
        with self._openai.OpenAI(**self._client_arguments) as client:
            try:
                raw = client.with_options(max_retries=2, timeout=30).models.with_raw_response.list()
                cards = json.loads(raw.content)["data"]
                return next((card for card in cards if card["id"] == self._model), {})
            except self._openai.AuthenticationError as error:
                raise self._user_error(error) from None
            except self._openai.APIConnectionError:
                raise UserError(f"no server answers at {self._shown_url}: is it running, is the port right?") from None
            except (self._openai.OpenAIError, ValueError, RecursionError, LookupError, TypeError):
                return {}

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        """Yield completions as they finish; see `base.Generator.generate`."""
        if not requests:
            return
        done: queue.SimpleQueue[Completion | BaseException | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._draw_all(requests, params, done))

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
                yield item
        finally:
            with suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(task.cancel)
            thread.join()

    async def _draw_all(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        done: "queue.SimpleQueue[Completion | BaseException | None]",
    ) -> None:
        async with self._openai.AsyncOpenAI(**self._client_arguments) as client:
            await self._probe(client, requests[0], params)
            jobs = (
                (request, index, seed)
                for request in requests
                for index, seed in zip(request.sample_indexes, request.seeds, strict=True)
            )

            async def work() -> None:
                for job in jobs:
                    done.put(await self._draw(client, job, params))

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._concurrency):
                        group.create_task(work())
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _probe(self, client: Any, request: Request, params: SamplingParams) -> None:
        """Ask for one token, so that what no request can get past is found before any sample is spent on it."""
        messages = tuple(Message(role=message["role"], content="Hi") for message in request.messages)
        question = Request(
            problem_id="", messages=messages, sample_indexes=(0,), seeds=(0,), chat=request.chat, prefix=request.prefix
        )  # fmt: skip
        while True:
            try:
                await self._ask(client, (question, 0, 0), params, 1)
                return
            except self._openai.APIStatusError as error:
                reason = self._reason(error)
                if error.status_code < 500 and self._logprobs and "logprobs" in reason:
                    self._logprobs = False
                    _log.warning("%s gives no log-probabilities: sum_logprob stays empty", self._shown_url)
                elif self._limit_name == "max_tokens" and "max_completion_tokens" in reason:
                    self._limit_name = "max_completion_tokens"
                else:
                    raise self._user_error(error) from None
            except (self._openai.APIError, TimeoutError, MalformedReply) as error:
                raise UserError(f"{self._shown_url} gives no usable answer: {self._reason(error)}") from None

    async def _draw(self, client: Any, job: _Job, params: SamplingParams) -> Completion:
        request, index, _ = job
        try:
            try:
                return await self._ask(client, job, params, params.max_tokens)
            except self._openai.BadRequestError as error:
                if not _TOO_LONG.search(self._reason(error)):
                    raise
                # prompt and max_tokens together do not fit: without a limit of ours the server's is what remains
                return await self._ask(client, job, params, None)
        except (self._openai.APIError, TimeoutError, MalformedReply) as error:
            if _is_hopeless(error):
                raise self._user_error(error) from None
            if getattr(error, "status_code", 500) >= 500:
                await self._check_presence(client)
            return failed(request.problem_id, index, self._reason(error))

    async def _check_presence(self, client: Any) -> None:
        """Raise a UserError if the server is gone: each further sample would only fail after all its retries."""
        try:
            await client.with_options(timeout=30).models.with_raw_response.list()
        except self._openai.APIError as error:
            if getattr(error, "status_code", 502) in (502, 503, 504):
                raise UserError(
                    f"{self._shown_url} answers no more; what was sampled is saved, the same command goes on from there"
                ) from None

    async def _ask(self, client: Any, job: _Job, params: SamplingParams, max_tokens: int | None) -> Completion:
        """Send one request, again where that may help; the last failure is raised."""
        request, index, seed = job
        endpoint = client.chat.completions if request.chat else client.completions
        body = request_body(request, params, logprobs=self._logprobs, enable_thinking=self._enable_thinking)
        body |= {"model": self._model, "seed": seed, self._limit_name: max_tokens}
        body["extra_body"] |= self._extra_body
        for attempt in range(self._max_retries + 1):
            try:
                # the library's time-out is reset by each byte
                async with asyncio.timeout(self._timeout_seconds):
                    raw = await endpoint.with_raw_response.create(**body)
                return completion(request.problem_id, index, raw.content, chat=request.chat)
            except self._openai.APIStatusError as error:
                passing = error.status_code in (408, 409, 425, 429) or error.status_code >= 500
                if not passing or _is_hopeless(error) or attempt == self._max_retries:
                    raise
                delay = retry_delay(attempt, error.response.headers.get("retry-after"))
            except (self._openai.APIError, TimeoutError, MalformedReply):
                if attempt == self._max_retries:
                    raise
                delay = retry_delay(attempt)
            await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    def _user_error(self, error: Any) -> UserError:
        if error.status_code == 401:
            return UserError(f"{self._shown_url} refuses the key: set OPENAI_API_KEY to one that it takes")
        return UserError(f"{self._shown_url} does not serve {self._model}: {self._reason(error)}")

    def _reason(self, error: Exception) -> str:
        """Return one short line that does not hold the key."""
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_seconds:g} s"
        if isinstance(error, self._openai.APIStatusError):
            text = f"HTTP {error.status_code}: {error_text(error.response.content)}"
        else:
            text = f"{type(error).__name__}: {error}"
        return " ".join(text.replace(self._key, "***").split())[:300]

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records; a server does not tell its weights or its template."""
        return {
            "name": self._model,
            "revision": None,
            "weights_digest": None,
            "chat_template_digest": None,
            "engine": "server",
            "engine_version": f"openai {self._openai.__version__}",
            "url": self._shown_url,
            "server": self._card.get("owned_by"),
            "root": self._card.get("root"),
            "max_model_len": self._card.get("max_model_len"),
            "logprobs": self._logprobs,
            "engine_options": {name: repr(value) for name, value in sorted(self._extra_body.items())},
        }

    def close(self) -> None:
        """Do nothing: each call of `generate` closes its own connections."""


def _import_openai() -> Any:
    try:
        import openai
    except ImportError as error:
        raise UserError("the server engine needs the openai package: pip install 'expo-bench[server]'") from error
    return openai


def _is_hopeless(error: Exception) -> bool:
    """Tell what every request would meet; a used-up account is status 429, like a rate that passes."""
    return (
        getattr(error, "status_code", None) in (401, 402, 404) or getattr(error, "code", None) == "insufficient_quota"
    )
