"""The engine on any server that speaks OpenAI's HTTP interface.

Each sample is one HTTP request with its own seed. A few workers send them from an event loop in a thread of its own,
and completions come back through a queue as they finish. What can pass is tried again; what cannot ends that sample as
an "error" completion; what would end every sample stops the run with one clear line.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Gauge, Request, SamplingParams
from expo_bench.engines.server.connection import Connection, ServerOptions, is_hopeless
from expo_bench.engines.server.messages import (
    TOO_LONG,
    VLLM_NEUTRAL,
    completion,
    prompt_tokens,
    request_body,
)
from expo_bench.engines.server.requests import Pool, stream
from expo_bench.engines.server.scoring import ServerScorer
from expo_bench.errors import UserError
from expo_bench.prompts import Message

_log = logging.getLogger(__name__)
_Job = tuple[Request, int, int]


class ServerEngine(ServerScorer):
    """Samples and scores with a model behind one or more OpenAI-compatible endpoints."""

    def __init__(self, spec: EngineSpec) -> None:
        """Look the model up on each endpoint. The key is taken from OPENAI_API_KEY.

        Raises:
            UserError: openai is not installed, an option is unknown, no endpoint answers, one refuses the key, or two
                serve different models.
        """
        urls, _, served = spec.model.partition("#")
        if not urls or not served or "://" in served:
            raise UserError(
                f"{spec.model} is not of the form URL#name, for instance http://127.0.0.1:8000/v1#name, "
                "or URL,URL#name for several endpoints of one model"
            )
        if spec.chat_template is not None:
            raise UserError(
                f"a server has a chat template of its own: start it with {spec.chat_template} "
                "(vllm serve --chat-template) and leave --chat-template out here"
            )
        options = spec.options_as(ServerOptions)
        server = Connection(urls, served, options)
        neutral = VLLM_NEUTRAL if server.card.get("owned_by") == "vllm" else {}
        super().__init__(server, enable_thinking=spec.enable_thinking, extra_body={**neutral, **options.extra_body})
        self.gauge = Gauge()
        self._logprobs = options.logprobs
        self._limit_name = "max_tokens"
        self._enable_thinking = spec.enable_thinking

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        """Yield completions as they finish; see `base.Generator.generate`."""
        if not requests:
            return

        async def probe(pool: Pool) -> None:
            await self._probe(pool, requests[0], params)

        async def draw(pool: Pool, job: _Job) -> Completion:
            self.gauge.running += 1
            try:
                return await self._draw(pool, job, params)
            finally:
                self.gauge.running -= 1

        jobs = (
            (request, index, seed)
            for request in requests
            for index, seed in zip(request.sample_indexes, request.seeds, strict=True)
        )
        yield from stream(self._server, jobs, draw, probe)

    async def _probe(self, pool: Pool, request: Request, params: SamplingParams) -> None:
        """Ask for one token, so that what no request can get past is found before any sample is spent on it."""
        messages = tuple(Message(role=message["role"], content="Hi") for message in request.messages)
        question = Request(
            problem_id="", messages=messages, sample_indexes=(0,), seeds=(0,), chat=request.chat, prefix=request.prefix
        )  # fmt: skip
        while True:
            try:
                await self._ask(pool, (question, 0, 0), params, 1)
                return
            except self._server.openai.APIStatusError as error:
                reason = self._server.reason(error)
                if error.status_code < 500 and self._logprobs and "logprobs" in reason:
                    self._logprobs = False
                    _log.warning("%s gives no log-probabilities: sum_logprob stays empty", self._server.shown_url)
                elif self._limit_name == "max_tokens" and "max_completion_tokens" in reason:
                    self._limit_name = "max_completion_tokens"
                else:
                    raise self._server.user_error(error) from None
            except self._server.failures as error:
                shown, reason = self._server.shown(error), self._server.reason(error)
                raise UserError(f"{shown} gives no usable answer: {reason}") from None

    async def _draw(self, pool: Pool, job: _Job, params: SamplingParams) -> Completion:
        request, index, _ = job
        try:
            try:
                return await self._ask(pool, job, params, params.max_tokens)
            except self._server.openai.BadRequestError as error:
                if not TOO_LONG.search(self._server.reason(error)):
                    raise
                # prompt and max_tokens together do not fit: without a limit of ours the server's is what remains
                return await self._ask(pool, job, params, None)
        except self._server.failures as error:
            if is_hopeless(error):
                raise self._server.user_error(error) from None
            if getattr(error, "status_code", 500) >= 500:
                await pool.check_presence()
            return Completion.failed(request.problem_id, index, self._server.reason(error))

    async def _ask(self, pool: Pool, job: _Job, params: SamplingParams, max_tokens: int | None) -> Completion:
        """Send one request, again where that may help; the last failure is raised."""
        request, index, seed = job
        body = request_body(request, params, logprobs=self._logprobs, enable_thinking=self._enable_thinking)
        body |= {"model": self._server.model, "seed": seed, self._limit_name: max_tokens}
        body["extra_body"] |= self._extra_body
        return await pool.ask(
            lambda client: (client.chat if request.chat else client).completions.with_raw_response.create,
            body,
            lambda content: self._completion(request, index, content),
        )

    def _completion(self, request: Request, index: int, content: bytes) -> Completion:
        read = completion(request.problem_id, index, content, chat=request.chat)
        if request.problem_id and (count := prompt_tokens(content)) is not None:
            # of a thought and its answer, both requests are billed
            key = request.problem_id, index
            self.gauge.prompts[key] = self.gauge.prompts.get(key, 0) + count
        return read

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records; a server does not tell its weights or its template."""
        return {
            "name": self._server.model,
            "revision": None,
            "weights_digest": None,
            "chat_template_digest": None,
            "engine": "server",
            "engine_version": f"openai {self._server.openai.__version__}",
            "url": self._server.shown_url,
            "server": self._server.card.get("owned_by"),
            "root": self._server.card.get("root"),
            "max_model_len": self._server.card.get("max_model_len"),
            "logprobs": self._logprobs,
            "engine_options": {name: repr(value) for name, value in sorted(self._extra_body.items())},
        }
