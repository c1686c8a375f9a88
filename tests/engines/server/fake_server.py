"""A small OpenAI-compatible server on loopback that misbehaves on demand.

What a request meets depends on the text of its last user message, or on its prompt: `Plan` objects by that text, one
consumed an attempt, the last one kept. Everything that arrived is in `seen`.

Its tokenizer takes characters for tokens, their code points for ids. /tokenize is no completion: it meets `tokenizing`.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Plan:
    """One answer."""

    status: int = 200
    body: Any = None
    """None: the usual completion; bytes or str are sent as they are, anything else as JSON."""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    """Seconds before the answer."""
    drop: bool = False
    """Close the connection without an answer."""
    drip: float = 0.0
    """Seconds between the bytes of the body."""
    cut: bool = False
    """Announce the whole body and send half of it."""
    edit: Callable[[dict[str, Any]], object] | None = None
    """Changes the usual completion."""


BEGIN, END, TURN = 1, 2, 3
"""Special ids: before a text, behind a finished message, before the assistant's turn."""


def token_ids(asked: dict[str, Any]) -> list[int]:
    """Return what /tokenize answers, as vLLM's defaults have it."""
    if "prompt" in asked:
        return [BEGIN] * asked.get("add_special_tokens", True) + [ord(letter) for letter in asked["prompt"]]
    ids = [BEGIN]
    for message in asked["messages"]:
        ids += [*map(ord, message["content"]), END]
    if asked.get("continue_final_message"):
        return ids[:-1]
    return [*ids, TURN] if asked.get("add_generation_prompt", True) else ids


def logprob(token: int) -> float:
    """Return the log-probability that any prompt gives a token."""
    return -(token % 8) / 4


def scores_of(token: int, listed: int) -> dict[str, dict[str, Any]]:
    """Return what a place tells: the token that stands there; where more are asked for, `x` as well, as likely as a."""
    found = {token: logprob(token), **({ord("x"): logprob(97)} if listed else {})}
    return {str(one): {"logprob": value, "rank": 1, "decoded_token": chr(one)} for one, value in found.items()}


def usual(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return a good completion of three tokens, one of which tells the seed."""
    logprobs = [-0.5, -0.25, -0.25]
    text = f"seed {asked.get('seed')}"
    if path.endswith("/chat/completions"):
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
            "logprobs": {"content": [{"token": "x", "logprob": value} for value in logprobs]}
            if asked.get("logprobs")
            else None,
        }
    else:
        if "prompt_logprobs" in asked:
            scores = [scores_of(token, asked["prompt_logprobs"]) for token in asked["prompt"]]
            return {"choices": [{"index": 0, "text": text, "prompt_logprobs": [None, *scores[1:]]}]}
        choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": {"token_logprobs": logprobs}}
    return {
        "id": "1",
        "object": "chat.completion",
        "model": asked["model"],
        "choices": [choice],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }


class FakeServer(ThreadingHTTPServer):
    """Use as a context manager; `url` is what a client wants."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.plans: dict[str, list[Plan]] = {}
        self.everything: Plan | None = None
        """What every completion request meets, whatever its text."""
        self.models: Plan = Plan(body={"data": [{"id": "m", "root": "/models/m", "owned_by": "fake"}]})
        self.tokenizing: list[Plan] = [Plan()]
        """What a request to /tokenize meets, one an attempt, the last one kept."""
        self.max_model_len: int | None = 100
        """As /tokenize tells it, where it does."""
        self.seen: list[dict[str, Any]] = []
        self.attempts: dict[str, int] = defaultdict(int)
        self.times: dict[str, list[float]] = defaultdict(list)
        self.running = 0
        self.most_running = 0
        self.broken = 0
        """Connections that the client closed before the answer."""
        self.guard = threading.Lock()

    def __enter__(self) -> "FakeServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def leave(self, plan: Plan) -> None:
        """Meet every request of any kind with the same plan from now on."""
        self.everything = self.models = plan
        self.tokenizing = [plan]

    def handle_error(self, *_: object) -> None:
        """Stay silent: clients that go away are part of the tests."""

    def plan(self, text: str) -> Plan:
        with self.guard:
            attempt = self.attempts[text]
            self.attempts[text] += 1
            self.times[text].append(time.monotonic())
        if self.everything is not None:
            return self.everything
        plans = self.plans.get(text, [Plan()])
        return plans[min(attempt, len(plans) - 1)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(self.server.models, self.server.models.body)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked["headers"] = {name.lower(): value for name, value in self.headers.items()}
        asked["path"] = self.path
        server = self.server
        with server.guard:
            server.seen.append(asked)
            server.running += 1
            server.most_running = max(server.most_running, server.running)
        try:
            if self.path == "/tokenize":
                self.tokenize(asked)
                return
            if "messages" in asked:
                text = next(m["content"] for m in reversed(asked["messages"]) if m["role"] == "user")
            else:
                text = "".join(chr(one) if isinstance(one, int) else one for one in asked["prompt"])
            plan = server.plan(text)
            body = plan.body
            if body is None:
                body = usual(self.path, asked)
                if plan.edit:
                    plan.edit(body)
            self.answer(plan, body)
        finally:
            with server.guard:
                server.running -= 1

    def tokenize(self, asked: dict[str, Any]) -> None:
        server = self.server
        with server.guard:
            plan = server.tokenizing[0] if len(server.tokenizing) == 1 else server.tokenizing.pop(0)
        ids = token_ids(asked)
        body: dict[str, Any] = {"tokens": ids, "count": len(ids)}
        if asked.get("return_token_strs"):
            body["token_strs"] = list(map(chr, ids))
        if server.max_model_len is not None:
            body["max_model_len"] = server.max_model_len
        if plan.edit:
            plan.edit(body)
        self.answer(plan, body if plan.body is None else plan.body)

    def answer(self, plan: Plan, body: Any) -> None:
        # in small steps, so that a client that goes away is noticed
        deadline = time.monotonic() + plan.wait
        while time.monotonic() < deadline:
            time.sleep(0.02)
        if plan.drop:
            self.close_connection = True
            return
        data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        try:
            self.send_response(plan.status)
            for name, value in plan.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if plan.cut:
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            elif plan.drip:
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(plan.drip)
            else:
                self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            with self.server.guard:
                self.server.broken += 1
            self.close_connection = True
