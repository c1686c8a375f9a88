"""The endpoints that serve one model: what they say of it, which of them are left out, errors without the key."""

import json
import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, JsonValue

from expo_bench.engines.server.address import read_key, split_urls, without_secrets
from expo_bench.engines.server.messages import MalformedReply, error_text
from expo_bench.errors import UserError, install
from expo_bench.settings import Settings

_log = logging.getLogger(__name__)
ASK_AGAIN_SECONDS = 60.0
"""After which an endpoint that was left out is asked again."""
_TOLD = ("id", "root", "max_model_len", "owned_by")
"""What two endpoints of one model must agree in, where they tell it."""


class ServerOptions(Settings):
    """What `engine_options` may hold."""

    concurrency: int = Field(default=32, ge=1)
    """Requests in flight at once at each endpoint."""
    timeout_seconds: float = Field(default=600, gt=0)
    """Of one attempt, to the last byte of the answer."""
    max_retries: int = Field(default=6, ge=0)
    """Attempts after the first."""
    logprobs: bool = True
    """Ask for log-probabilities."""
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of each request."""


@dataclass(eq=False, slots=True, kw_only=True)
class Endpoint:
    """One of the servers."""

    url: str
    shown_url: str
    card: dict[str, Any] = field(default_factory=dict)
    """What it says of the model; nothing where it lists no models."""
    out: bool = False
    """It does not answer, and others are asked in its place."""
    ask_again_at: float = 0.0
    """When, as `time.monotonic` tells it, an endpoint that is out is asked again; infinity for never."""

    def put_off(self) -> None:
        """Have it asked again, but not soon."""
        self.ask_again_at = time.monotonic() + ASK_AGAIN_SECONDS


class Connection:
    """A model behind one or more OpenAI-compatible endpoints; at least one of them is always in."""

    def __init__(self, urls: str, model: str, options: ServerOptions) -> None:
        """Look the model up on each endpoint.

        Args:
            urls: the endpoint, for instance http://127.0.0.1:8000/v1; several, separated by commas, share the requests.
            model: its name there.
            options: the user's.

        Raises:
            UserError: openai is not installed, no endpoint answers, one refuses the key, or two serve different models.
        """
        self.openai = _import_openai()
        self.endpoints = [Endpoint(url=url, shown_url=without_secrets(url)) for url in split_urls(urls)]
        self.shown_url = ",".join(endpoint.shown_url for endpoint in self.endpoints)
        self._key = read_key()
        self.model = model
        self.options = options
        self.failures = (self.openai.APIError, TimeoutError, MalformedReply)
        """What a request may end with."""
        self._look_up()

    @property
    def within(self) -> list[Endpoint]:
        """The endpoints that are asked, one at least."""
        return [endpoint for endpoint in self.endpoints if not endpoint.out]

    @property
    def card(self) -> dict[str, Any]:
        """What the endpoints say of the model; nothing where they list no models."""
        return next((endpoint.card for endpoint in self.endpoints if endpoint.card), {})

    def client_arguments(self, endpoint: Endpoint) -> dict[str, Any]:
        """Return the arguments of a client of the library."""
        return {
            "base_url": endpoint.url,
            "api_key": self._key,
            "timeout": self.openai.Timeout(self.options.timeout_seconds, connect=10),
            # the library would not try a malformed answer again, so all retries are made here
            "max_retries": 0,
        }

    def _look_up(self) -> None:
        cards = [self._card_of(endpoint) for endpoint in self.endpoints]
        if all(card is None for card in cards):
            raise UserError(f"no server answers at {self.shown_url}: is it running, is the port right?")
        for endpoint, card in zip(self.endpoints, cards, strict=True):
            if card is None:
                self.leave_out(endpoint)
                continue
            for other in self.endpoints:
                if difference := _difference(card, other.card):
                    raise UserError(f"{endpoint.shown_url} does not serve what {other.shown_url} serves: {difference}")
            endpoint.card = card

    def _card_of(self, endpoint: Endpoint) -> dict[str, Any] | None:
        """Return what an endpoint says of the model, None where it does not answer."""
        with self.openai.OpenAI(**self.client_arguments(endpoint)) as client:
            try:
                raw = client.with_options(max_retries=2, timeout=30).models.with_raw_response.list()
            except self.openai.AuthenticationError as error:
                raise self.user_error(error) from None
            except self.openai.APIConnectionError:
                return None
            except self.openai.OpenAIError:
                return {}
        return self.read_card(raw.content)

    def read_card(self, content: bytes) -> dict[str, Any]:
        """Return what a list of models says of the model; nothing where it cannot be read or does not name it."""
        try:
            card: dict[str, Any] = next(card for card in json.loads(content)["data"] if card["id"] == self.model)
        except (ValueError, RecursionError, LookupError, TypeError, StopIteration):
            return {}
        return card

    def leave_out(self, endpoint: Endpoint) -> bool:
        """Ask an endpoint no more for a while; tell whether it is left out, which the last one never is."""
        if not endpoint.out and any(other is not endpoint for other in self.within):
            endpoint.out = True
            endpoint.put_off()
            _log.warning("%s does not answer: the other endpoints are asked in its place", endpoint.shown_url)
        return endpoint.out

    def take_back(self, endpoint: Endpoint, card: dict[str, Any]) -> None:
        """Ask an endpoint again that was left out, unless it now serves something else."""
        if not endpoint.out:
            return
        if difference := _difference(card, self.card):
            endpoint.ask_again_at = math.inf
            _log.warning("%s answers again, with another model (%s): it stays out", endpoint.shown_url, difference)
            return
        endpoint.out, endpoint.card = False, card
        _log.warning("%s answers again", endpoint.shown_url)

    def user_error(self, error: Any) -> UserError:
        """Return what ends the run where no request gets past an HTTP status."""
        shown = self.shown(error)
        if error.status_code == 401:
            return UserError(f"{shown} refuses the key: set OPENAI_API_KEY to one that it takes")
        return UserError(f"{shown} does not serve {self.model}: {self.reason(error)}")

    def shown(self, error: Exception) -> str:
        """Return the endpoint at which a request failed, or all of them where the error does not tell."""
        asked = str(getattr(getattr(error, "request", None), "url", ""))
        # /tokenize lies beside /v1
        roots = {endpoint.url.rstrip("/").removesuffix("/v1") + "/": endpoint for endpoint in self.endpoints}
        root = max((root for root in roots if asked.startswith(root)), key=len, default=None)
        return roots[root].shown_url if root else self.shown_url

    def reason(self, error: Exception) -> str:
        """Return one short line that does not hold the key."""
        if isinstance(error, TimeoutError):
            return f"no answer within {self.options.timeout_seconds:g} s"
        if isinstance(error, self.openai.APIStatusError):
            text = f"HTTP {error.status_code}: {error_text(error.response.content)}"
        else:
            text = f"{type(error).__name__}: {error}"
        return " ".join(text.replace(self._key, "***").split())[:300]


def _difference(card: dict[str, Any], other: dict[str, Any]) -> str | None:
    for name in _TOLD:
        if None not in (card.get(name), other.get(name)) and card[name] != other[name]:
            return f"{name} is {card[name]!r} and not {other[name]!r}"
    return None


def is_hopeless(error: Exception) -> bool:
    """Tell what every request would meet; a used-up account is status 429, like a rate that passes."""
    return (
        getattr(error, "status_code", None) in (401, 402, 404) or getattr(error, "code", None) == "insufficient_quota"
    )


def is_absence(error: Exception) -> bool:
    """Tell what a request meets at a server that is gone: no answer, or that of whatever stands before it."""
    return not isinstance(error, MalformedReply) and getattr(error, "status_code", 502) in (502, 503, 504)


def may_pass(error: Exception) -> bool:
    """Tell whether a second attempt may help."""
    status = getattr(error, "status_code", 500)
    return (status in (408, 409, 425, 429) or status >= 500) and not is_hopeless(error)


def _import_openai() -> Any:
    try:
        import openai
    except ImportError as error:
        raise UserError(f"the server engine needs the openai package: {install('server')}") from error
    return openai
