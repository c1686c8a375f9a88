"""What a completion says after its thoughts, without the tokens that end a text."""

import re

_TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)
"""Thoughts of the models that mark them."""
_END_TOKENS = re.compile(r"(?:<[|｜][\w▁ ]{1,40}[|｜]>|</?s>|<end_of_turn>|<eos>|<pad>|\[EOS\])\Z")
_MOST_END_TOKENS = 10_000


def conclusion(text: str) -> str | None:
    """Return what follows the thoughts, None where these do not end; in time linear in the length of the text.

    Where STILL-2's solution is marked, only that counts. Of thoughts whose beginning stands in the prompt, the end is
    enough.
    """
    text = _without_end_tokens(text)
    if "<|begin_of_solution|>" in text:
        return text.rpartition("<|begin_of_solution|>")[2].partition("<|end_of_solution|>")[0]
    for begin, end in _TAGS:
        text = text.rpartition(end)[2]
        if begin in text:
            return None
    return text


def _without_end_tokens(text: str) -> str:
    """Cut what engines leave at the end of a text that keeps its special tokens."""
    end = len(text)
    for _ in range(_MOST_END_TOKENS):
        tail = text[max(0, end - 60) : end].rstrip()
        token = _END_TOKENS.search(tail)
        if token is None or token[0].startswith("<|begin_of") or token[0] == "<|end_of_solution|>":
            break
        end -= min(60, end) - token.start()
    return text[:end]
