"""The prompt of a problem as the policy got it: the messages, and the text that the chat template makes of them."""

from functools import lru_cache
from typing import Any

from expo_bench import prompts
from expo_bench.errors import UserError
from expo_bench.reports.text import Excerpt, excerpt, short
from expo_bench.rows import Manifest, Problem

_LIMIT = 200_000


def prompt_context(manifest: Manifest, problem: Problem) -> dict[str, Any]:
    """Return messages, the rendered text, and what speaks against either."""
    protocol = manifest.protocol
    try:
        prompt = prompts.solve_prompt(str(protocol.get("prompt")))
    except (UserError, OSError, ValueError) as error:
        return {"messages": [], "rendered": None, "notes": [short(str(error), 300)]}
    notes = []
    if protocol.get("prompt_digest") not in (None, prompt.digest()):
        notes.append("The prompt of this name has changed since: what the run sent was another.")
    messages = prompt.messages(problem)
    rendered: Excerpt | None = None
    if prompt.chat:
        try:
            text = _rendered(manifest, messages)
            rendered = excerpt(text, _LIMIT)
        except (UserError, ImportError, OSError, ValueError, TypeError, KeyError) as error:
            notes.append(f"The chat template is not at hand: {short(str(error), 300)}")
    shown = [{"role": one["role"], "text": excerpt(one["content"], _LIMIT)} for one in messages]
    return {"messages": shown, "rendered": rendered, "notes": notes}


def _rendered(manifest: Manifest, messages: Any) -> str:
    tokenizer = _tokenizer(str(manifest.model.get("name")), manifest.model.get("revision"))
    template = manifest.protocol.get("chat_template")
    if template:
        raise UserError(f"the run had a template of its own, {template}")
    thinking = manifest.protocol.get("enable_thinking")
    more = {} if thinking is None else {"enable_thinking": thinking}
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **more))


def _tokenizer(name: str, revision: str | None) -> Any:
    found = _looked_for(name, revision)
    if isinstance(found, Exception):
        raise found
    return found


@lru_cache(maxsize=4)
def _looked_for(name: str, revision: str | None) -> Any:
    """Return the tokenizer, or why there is none: a site asks for each problem."""
    try:
        return _loaded(name, revision)
    except (UserError, ImportError, OSError, ValueError, TypeError, KeyError) as error:
        return error


def _loaded(name: str, revision: str | None) -> Any:
    from expo_bench.engines.loading import find_model, load_tokenizer

    # what a run folder names is asked of no server
    tokenizer = load_tokenizer(find_model(name, revision), local_files_only=True)
    if not tokenizer.chat_template:
        raise UserError(f"{name} has no chat template")
    return tokenizer
