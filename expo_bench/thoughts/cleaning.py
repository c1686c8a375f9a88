"""Rules that a long-form completion must pass before anything learns from it."""

import re

from pydantic import Field

from expo_bench.settings import Settings
from expo_bench.thoughts.format import split

_LATIN_END = 0x024F
_GREEK = range(0x0370, 0x0400)
_COMMAND = re.compile(r"\\[A-Za-z]+")


class Cleaning(Settings):
    """Limits of the rules; the paper names the rules and not their limits."""

    min_words: int = Field(default=100, ge=0)
    """Words that a thought must have."""
    ngram: int = Field(default=20, ge=1)
    """Words of the windows by which repetition is found."""
    repeated_share: float = Field(default=0.2, ge=0, le=1)
    """Share of windows that may have occurred before."""
    foreign_share: float = Field(default=0.02, ge=0, le=1)
    """Share of letters that may be of another script than the question's; Greek and LaTeX commands are mathematics."""


def fault(question: str, text: str, rules: Cleaning) -> str | None:
    """Return the first rule that the completion breaks, None if it passes all.

    Args:
        question: what it answers; its letters say which script is at home.
        text: the completion with its tags.
        rules: the limits.
    """
    parts = split(text)
    if parts is None:
        return "tags broken"
    words = parts.thought.split()
    if len(words) < rules.min_words:
        return "too short"
    if _repeated(words, rules.ngram) > rules.repeated_share:
        return "repeats itself"
    if _foreign(question, f"{parts.thought} {parts.solution}") > rules.foreign_share:
        return "mixes languages"
    return None


def _repeated(words: list[str], n: int) -> float:
    """Return the share of windows of n words that occurred before."""
    windows = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1 - len(set(windows)) / len(windows) if windows else 0.0


def _foreign(question: str, text: str) -> float:
    """Return the share of the text's letters whose script the question does not use."""
    home, letters = set(_wide(question)), _wide(text)
    if not letters or len(home) != 1:
        return 0.0
    return sum(wide not in home for wide in letters) / len(letters)


def _wide(text: str) -> list[bool]:
    """Return for each letter whether it lies beyond the Latin alphabets."""
    letters = (letter for letter in _COMMAND.sub("", text) if letter.isalpha() and ord(letter) not in _GREEK)
    return [ord(letter) > _LATIN_END for letter in letters]
