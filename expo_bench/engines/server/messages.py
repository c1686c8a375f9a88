"""A Request -> the body of an HTTP request; the body of the answer -> a Completion."""

import json
import math
import re
from typing import Any

from expo_bench.engines.base import Completion, Request, SamplingParams
from expo_bench.rows import FinishReason

VLLM_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True}
"""A vLLM server fills what a request leaves open from the checkpoint's generation_config.json."""
TOO_LONG = re.compile(r"context.?(length|window|size)|reduce the length", re.IGNORECASE)
"""What servers say of more tokens than the model's context holds."""
_FINISH: dict[Any, FinishReason] = {"stop": "stop", "length": "length"}


class MalformedReply(Exception):
    """The answer is not what the interface promises; a second attempt may be."""


def request_body(
    request: Request, params: SamplingParams, *, logprobs: bool, enable_thinking: bool | None
) -> dict[str, Any]:
    """Return what is asked of a server, model, seed and token limit apart; "extra_body" is not part of the standard."""
    extra: dict[str, Any] = {}
    body: dict[str, Any] = {"n": 1, "temperature": params.temperature, "top_p": params.top_p, "extra_body": extra}
    if params.stop:
        body["stop"] = list(params.stop)
    if logprobs:
        body["logprobs"] = True if request.chat else 1
    if not request.chat:
        body["prompt"] = request.messages[-1]["content"] + request.prefix
        return body
    body["messages"] = list(request.messages)
    if request.prefix:
        body["messages"].append({"role": "assistant", "content": request.prefix})
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    if enable_thinking is not None:
        extra["chat_template_kwargs"] = {"enable_thinking": enable_thinking}
    return body


def completion(problem_id: str, sample_index: int, content: bytes, *, chat: bool) -> Completion:
    """Read the one completion of an answer; an unusual finish_reason makes it an "error".

    Raises:
        MalformedReply: it cannot be read, or does not hold exactly one completion and its number of tokens.
    """
    answer = parse(content)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise MalformedReply("the answer has no choices")
    if len(choices) != 1:
        raise MalformedReply(f"the answer has {len(choices)} choices where one was asked for")
    choice = choices[0]
    reason = choice.get("finish_reason")
    if not isinstance(reason, str) or reason not in _FINISH:
        return Completion.failed(problem_id, sample_index, f"the server ended the completion: {str(reason)[:100]}")
    text = _chat_text(choice) if chat else choice.get("text")
    if not isinstance(text, str):
        raise MalformedReply("the answer has no text")
    token_ids = integers(choice.get("token_ids"))
    logprobs = _logprobs(choice, chat)
    n_tokens = len(token_ids) if token_ids is not None else _count(answer, logprobs)
    # a sum over other tokens than were counted would be no likelihood of the text
    known = logprobs is not None and len(logprobs) == n_tokens
    return Completion(
        problem_id=problem_id,
        sample_index=sample_index,
        text=text,
        token_ids=token_ids,
        n_tokens=n_tokens,
        finish_reason=_FINISH[reason],
        sum_logprob=math.fsum(logprobs or ()) if known else None,
    )


def prompt_tokens(content: bytes) -> int | None:
    """Return the tokens of the prompt as an answer's `usage` counts them; None where it does not."""
    usage = parse(content).get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return count if type(count) is int and count > 0 else None


def error_text(content: bytes) -> str:
    """Return what a server says in the body of an error: its message where there is one, else the body."""
    try:
        body = parse(content)
    except MalformedReply:
        return content.decode(errors="replace")
    inner = body.get("error")
    return str((inner if isinstance(inner, dict) else body).get("message") or inner or body)


def parse(content: bytes) -> dict[str, Any]:
    """Return the JSON object; raise a MalformedReply for anything else."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise MalformedReply("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise MalformedReply("the answer is not a JSON object")
    return answer


def _chat_text(choice: dict[str, Any]) -> str | None:
    """Return the message with its reasoning, which some servers cut out, put back before it."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    content = message.get("content")
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if not isinstance(reasoning, str):
        return content if isinstance(content, str) else "" if content is None else None
    # thoughts that ran into the token limit were never closed
    return f"<think>{reasoning}</think>{content}" if content else f"<think>{reasoning}"


def _logprobs(choice: dict[str, Any], chat: bool) -> list[float] | None:
    given = choice.get("logprobs")
    try:
        values = [token["logprob"] for token in given["content"]] if chat else given["token_logprobs"]  # type: ignore[index]
        return values if all(isinstance(value, float | int) and math.isfinite(value) for value in values) else None
    except (TypeError, KeyError):
        return None


def integers(values: Any) -> tuple[int, ...] | None:
    """Return a JSON list of whole numbers; None for anything else."""
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        return None
    return tuple(values)


def _count(answer: dict[str, Any], logprobs: list[float] | None) -> int:
    usage = answer.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if type(count) is int and count >= 0:
        return count
    if logprobs is not None:
        return len(logprobs)
    raise MalformedReply("the answer does not tell its number of tokens")
