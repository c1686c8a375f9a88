"""What users are told when something they gave is wrong."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: one line saying what is wrong, where, and what to do. The command line prints it and exits with 2."""


class EngineFailedError(UserError):
    """An engine broke down in the midst of its work; another like it, on another machine for instance, may do it."""


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """Return " (did you mean X?)" where one of the words is near, else nothing."""
    near = get_close_matches(word.lower(), list(among), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
