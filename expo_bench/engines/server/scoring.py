"""Log-probabilities of given continuations from a server: vLLM's /tokenize and its `prompt_logprobs`.

Each continuation is one `completions` request whose prompt is token ids. `prompt_logprobs=0` (vLLM 0.32,
entrypoints/openai/completion/protocol.py) answers for each prompt token with its own id and log-probability, so that
both can be checked; the standard's `echo` with `logprobs` tells texts in place of ids. vLLM refuses `max_tokens=0`
without `echo`, so one token is sampled and thrown away. Where other ways to write a text count as well, the likeliest
tokens of each place are asked for; the texts of tokens are known from /tokenize and from these lists alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from expo_bench.engines.base import Branch, Continuation, Scored, ScoreRequest
from expo_bench.engines.server.connection import Connection, Endpoint, is_absence
from expo_bench.engines.server.messages import TOO_LONG, MalformedReply, integers, parse
from expo_bench.engines.server.requests import Pool, stream
from expo_bench.engines.vocabulary import Vocabulary, piece_text, style_of
from expo_bench.errors import UserError

_MOST_LISTED = 20
"""What a vLLM server lists at most, unless it is started with --max-logprobs."""
_UNKNOWN = b"\xff"
_ALTERNATIVES = "score the model itself with --engine transformers or vllm"
_Job = tuple[str, Continuation, list[int]]


class ServerScorer:
    """Tokenizes and scores on a server."""

    def __init__(self, server: Connection, *, enable_thinking: bool | None, extra_body: Mapping[str, Any]) -> None:
        """Ask the server nothing yet.

        Args:
            server: where the model is.
            enable_thinking: handed to the server's chat template where not None.
            extra_body: further fields of each scoring request.
        """
        self._server = server
        # the library's own retries, from one connection: a text's ids are a small answer, and asked for one by one
        self._clients = {
            endpoint: server.openai.OpenAI(
                **{**server.client_arguments(endpoint), "max_retries": server.options.max_retries}
            )
            for endpoint in server.endpoints
        }
        self._thinking = (
            {} if enable_thinking is None else {"chat_template_kwargs": {"enable_thinking": enable_thinking}}
        )
        self._extra_body = extra_body
        self._context: int | None = None
        self._end_of_turn: int | None = None
        self._style: str | None = None
        self._texts: dict[int, bytes] = {}

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text that follows a prompt; see `base.Scorer.tokenize`.

        Raises:
            UserError: the server does not tokenize, or its chat template ends no turn with a token.
        """
        if self._end_of_turn is None:
            self._end_of_turn = self._find_end_of_turn()
        if self._style is None:
            self._style = style_of(self._pieces("a a")[1])
        ids, names = self._pieces(text)
        self._texts.update((token, piece_text(name, self._style)) for token, name in zip(ids, names, strict=True))
        return (*ids, self._end_of_turn)

    def token_texts(self, ids: Sequence[int]) -> list[bytes]:
        """Return what each id writes, no text at all where it never came up; see `base.Scorer.token_texts`."""
        return [self._texts.get(token, _UNKNOWN) for token in ids]

    def cover(self, text: bytes) -> tuple[int, ...] | None:
        """Return ids that write the text; see `base.Scorer.cover`."""
        try:
            ids = self.tokenize(text.decode())[:-1]
        except UnicodeDecodeError:
            return None
        return ids if b"".join(self.token_texts(ids)) == text else None

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        """Yield the log-probabilities of all continuations, without entropies; see `base.Scorer.score`.

        Raises:
            UserError: a continuation has nothing to score, or the server gives no log-probabilities of prompts.
        """
        fitting: list[_Job] = []
        for request in requests:
            prompt = self._prompt_ids(request)
            for one in request.continuations:
                if not prompt or len(one.token_ids) <= one.given:
                    raise UserError(f"{request.problem_id}, {one.key}: an empty prompt or nothing to score")
                length = len(prompt) + len(one.token_ids)
                if self._context is not None and length >= self._context:
                    error = f"{length} tokens with the prompt, the model's context is {self._context}"
                    yield Scored.failed(request.problem_id, one.key, error)
                else:
                    fitting.append((request.problem_id, one, prompt))
        yield from stream(self._server, fitting, self._score)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    async def _score(self, pool: Pool, job: _Job) -> Scored:
        problem_id, one, prompt = job
        ids = [*prompt, *one.token_ids]
        extra = {**self._extra_body, "prompt_logprobs": _MOST_LISTED if one.marks else 0}
        body = {"model": self._server.model, "prompt": ids, "temperature": 0.0, "max_tokens": 1, "extra_body": extra}
        skipped = len(prompt) + one.given
        try:
            logprobs, branches = await pool.ask(
                lambda client: client.completions.with_raw_response.create,
                body,
                lambda content: self._read(content, ids, skipped, one),
            )
        except self._server.failures as error:
            reason = self._server.reason(error)
            if getattr(error, "status_code", None) == 400 and TOO_LONG.search(reason):
                return Scored.failed(problem_id, one.key, reason)
            raise self._user_error(error, "log-probabilities of prompts") from None
        scored = one.token_ids[one.given :]
        return Scored(
            problem_id=problem_id, key=one.key, token_ids=scored, logprobs=logprobs, entropies=None, branches=branches
        )

    def _read(
        self, content: bytes, ids: Sequence[int], skipped: int, one: Continuation
    ) -> tuple[NDArray[np.float32], tuple[Branch, ...]]:
        """Return the log-probabilities of the ids behind the first `skipped`, one each, and their branches."""
        choices = parse(content).get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise MalformedReply("the answer does not hold one choice")
        given = choices[0].get("prompt_logprobs")
        if not isinstance(given, list):
            raise UserError(f"{self._server.shown_url} gives no log-probabilities of prompts: {_ALTERNATIVES}")
        try:
            # a position's keys are token ids
            places = list(zip(ids, given, strict=True))[skipped:]
            values = [place[str(token)]["logprob"] for token, place in places]
        except (ValueError, LookupError, TypeError):
            values = []
        # a server that reports logits in their place has some above 0
        if not values or not all(isinstance(value, float | int) and -math.inf < value <= 0 for value in values):
            raise UserError(f"{self._server.shown_url} gives no log-probability of each given token: {_ALTERNATIVES}")
        return np.array(values, dtype=np.float32), self._branches(one, [place for _, place in places])

    def _branches(self, one: Continuation, places: Sequence[Mapping[str, Any]]) -> tuple[Branch, ...]:
        if not one.marks:
            return ()
        texts = {token: self._texts[token] for token in one.token_ids if token in self._texts}
        try:
            listed = [{int(token): float(entry["logprob"]) for token, entry in place.items()} for place in places]
            # pieces are told without the space that they begin with
            if self._style in ("bytes", "plain"):
                told = {
                    int(token): entry["decoded_token"].encode() for place in places for token, entry in place.items()
                }
                texts = {**told, **texts}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise MalformedReply("the listed tokens have no ids, texts and log-probabilities") from error
        vocabulary = Vocabulary({token: self._texts.get(token, text) for token, text in texts.items()})
        return vocabulary.listed(one, listed, top=_MOST_LISTED, complete=False)

    def _prompt_ids(self, request: ScoreRequest) -> list[int]:
        if not request.chat:
            return self._ids({"prompt": request.messages[-1]["content"]})
        return self._ids({"messages": list(request.messages), "add_generation_prompt": True, **self._thinking})

    def _find_end_of_turn(self) -> int:
        """Return the first id that the chat template puts behind an assistant's finished message."""
        messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
        asked = {"messages": messages, "add_generation_prompt": False, **self._thinking}
        finished = self._ids(asked)
        unfinished = self._ids({**asked, "continue_final_message": True})
        if finished[: len(unfinished)] != unfinished or len(finished) == len(unfinished):
            raise UserError(
                f"{self._server.shown_url}: its chat template puts no token behind an answer: {_ALTERNATIVES}"
            )
        return finished[len(unfinished)]

    def _pieces(self, text: str) -> tuple[list[int], list[str]]:
        """Return the ids of a text, and their names in the vocabulary."""
        ids, names = self._tokenized(
            {"prompt": text, "add_special_tokens": False, "return_token_strs": True}, named=True
        )
        return ids, names

    def _ids(self, asked: Mapping[str, Any]) -> list[int]:
        return self._tokenized(asked, named=False)[0]

    def _tokenized(self, asked: Mapping[str, Any], *, named: bool) -> tuple[list[int], list[str]]:
        """Ask vLLM's /tokenize."""
        try:
            answer = parse(self._ask_to_tokenize({"model": self._server.model, **asked}))
            ids, names = integers(answer.get("tokens")), answer.get("token_strs") if named else []
            if ids is None:
                raise MalformedReply("the answer holds no token ids")
            if (
                not isinstance(names, list)
                or (named and len(names) != len(ids))
                or not all(isinstance(one, str) for one in names)
            ):
                raise MalformedReply("the answer holds no token_strs")
        except self._server.failures as error:
            raise self._user_error(error, "token ids at /tokenize") from None
        context = answer.get("max_model_len", self._server.card.get("max_model_len"))
        self._context = context if type(context) is int else self._context
        return list(ids), names

    def _ask_to_tokenize(self, body: Mapping[str, Any]) -> bytes:
        while True:
            endpoint = self._server.within[0]
            try:
                content: bytes = self._clients[endpoint].post(_tokenize_url(endpoint), cast_to=bytes, body=body)
                return content
            except self._server.failures as error:
                if not (is_absence(error) and self._server.leave_out(endpoint)):
                    raise

    def _user_error(self, error: Exception, what: str) -> UserError:
        status = getattr(error, "status_code", None)
        shown, reason = self._server.shown(error), self._server.reason(error)
        if status == 401:
            return self._server.user_error(error)
        if isinstance(error, MalformedReply) or status in (400, 403, 404, 405, 422, 501):
            return UserError(f"{shown} gives no {what} ({reason}): {_ALTERNATIVES}")
        return UserError(
            f"{shown} does not score ({reason}); what is done is saved, the same command goes on from there"
        )


def _tokenize_url(endpoint: Endpoint) -> str:
    # it lies beside /v1 and not under it
    parts = urlsplit(endpoint.url)
    path = parts.path.rstrip("/").removesuffix("/v1") + "/tokenize"
    return urlunsplit(parts._replace(path=path, fragment=""))
