"""A request -> the token ids of its prompt."""

from typing import Any

from expo_bench.engines.base import Request, ScoreRequest
from expo_bench.errors import UserError


def prompt_ids(tokenizer: Any, request: Request | ScoreRequest, enable_thinking: bool | None = None) -> list[int]:
    """Return the prompt's token ids: the chat template around the messages, then the given prefix.

    Raises:
        UserError: the request wants a chat template and the tokenizer has none.
    """
    prefix = request.prefix if isinstance(request, Request) else ""
    if not request.chat:
        ids: list[int] = tokenizer(request.messages[-1]["content"] + prefix)["input_ids"]
        return ids
    if not tokenizer.chat_template:
        raise UserError(f"{tokenizer.name_or_path} has no chat template: use --prompt plain, or give one")
    thinking = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    text = tokenizer.apply_chat_template(list(request.messages), tokenize=False, add_generation_prompt=True, **thinking)
    # the template writes the special tokens itself: adding them again would double the first
    ids = tokenizer(text + prefix, add_special_tokens=False)["input_ids"]
    return ids
