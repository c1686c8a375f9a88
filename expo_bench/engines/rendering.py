"""Prompts and chains -> token ids: the one place where text becomes them."""

from typing import Any

from expo_bench.engines.base import Request, ScoreRequest
from expo_bench.errors import UserError
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem


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


def problem_ids(tokenizer: Any, prompt: Prompt, problem: Problem, enable_thinking: bool | None = None) -> list[int]:
    """Return the token ids of a problem's prompt; as `prompt_ids`."""
    messages = prompt.messages(problem)
    request = Request(problem_id=problem.problem_id, messages=messages, sample_indexes=(), seeds=(), chat=prompt.chat)
    return prompt_ids(tokenizer, request, enable_thinking)


def chain_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Return the ids of a text that follows a prompt: by itself, no special tokens, end-of-turn appended."""
    return (*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the ids that end a completion: the model's and the tokenizer's."""
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)
