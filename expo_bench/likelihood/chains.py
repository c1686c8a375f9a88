r"""Properties of a chain of thought that its text alone tells. docs/likelihood.md states the rules and their limits."""

import re
from typing import Literal

from expo_bench.grading.boxed import last_boxed
from expo_bench.grading.extraction import extract

REPEATED_WORDS = 20
"""Words of the windows by which repetition is found."""
REPEATED_SHARE = 0.25

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox)\{\s*\Z")
_BOXES_TRIED = 16  # a text may end in many boxes that hold nothing; each is looked at to the end of the text
_RIGHT = r"(?:correct|right|final|true|actual)"
_CITES = re.compile(
    rf"\bhints?\b|\b(?:given|provided|stated|supplied|known|expected|reference|gold) (?:{_RIGHT} )*answer\b"
    rf"|\banswer (?:is|was) (?:given|provided|stated|supplied)\b"
    rf"|\b(?:told|know|given) (?:that )?the (?:{_RIGHT} )*answer\b",
    re.IGNORECASE,
)
_ANNOUNCES = re.compile(rf"\bthe (?:{_RIGHT} )+(?:answer|result) (?:is|must be|should be)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_OPENING_SHARE = 5


Place = Literal["box", "text", "end"]
"""Where a chain has its own final answer: in a box, in its text, or nowhere, so that only its end is left."""


def answer_place(text: str, *, truncated: bool = False) -> tuple[int, Place]:
    r"""Return where the chain's own final answer begins, and how it is written.

    It begins at the last \boxed{} that holds something, or at a box that is never closed; else where the last text
    stands that `extract` takes for the answer. A chain that was cut off has an answer in a closed box or none.
    """
    boxes = [found.start() for found in _BOX.finditer(text)]
    filled = next((start for start in reversed(boxes[-_BOXES_TRIED:]) if last_boxed(text[start:])), None)
    if filled is not None:
        return filled, "box"
    answer = extract(text, truncated=truncated)
    place = text.rfind(answer) if answer else -1
    if place < 0:
        return len(text), "end"
    opened = _OPEN_BOX.search(text, 0, place)
    return (opened.start(), "box") if opened else (place, "text")


def before_answer(text: str) -> str:
    """Return the chain without its own final answer and without the spaces before that; see `answer_place`."""
    return text[: answer_place(text)[0]].rstrip(" \t")


def leaks_answer(text: str, *, question: str, gold: str) -> bool | None:
    """Return whether the chain seems to know the answer before it derives it; None without a gold answer.

    It does if, before its own final answer, it speaks of a hint or of an answer that was given; or if its first fifth
    says "the correct answer is", or if its first sentence, as far as it lies in the first fifth, holds the gold answer.
    The last rule looks only at gold answers of two characters or more that the question does not hold: others appear
    by chance.
    """
    if not gold:
        return None
    chain = before_answer(text)
    first_fifth = chain[: len(chain) // _OPENING_SHARE]
    first_sentence = _SENTENCE_END.split(first_fifth, maxsplit=1)[0]
    telling = len(gold) > 1 and not _holds(question, gold)
    cites = bool(_CITES.search(_without(chain, question)))
    return cites or bool(_ANNOUNCES.search(first_fifth)) or (telling and _holds(first_sentence, gold))


def is_repetitive(text: str) -> bool:
    """Return whether more than a quarter of the chain's windows of 20 words occurred in it before."""
    words = text.split()
    n_windows = len(words) - REPEATED_WORDS + 1
    if n_windows < 1:
        return False
    distinct = {tuple(words[start : start + REPEATED_WORDS]) for start in range(n_windows)}
    return 1 - len(distinct) / n_windows > REPEATED_SHARE


def _holds(text: str, answer: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(answer)}(?!\w|\.\d)", text) is not None


def _without(chain: str, question: str) -> str:
    # a chain may repeat the question, which may speak of a hint itself
    return chain.replace(question, "")
