"""What users are told when something they gave is wrong."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """Bad input: one line saying what is wrong, where, and what to do. The command line prints it and exits with 2."""


class EngineFailedError(UserError):
    """An engine broke down in the midst of its work; another like it, on another machine for instance, may do it."""


def install(extra: str) -> str:
    """Return the pip command that adds an extra: to the checkout that this is, else to the installed package."""
    checkout = Path(__file__).parents[1]
    return (
        f"pip install -e '{checkout}[{extra}]'"
        if (checkout / "pyproject.toml").is_file()
        else (f"pip install 'expo-bench[{extra}]'")
    )


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """Return " (did you mean X?)" where one of the words is near, else nothing."""
    near = get_close_matches(word.lower(), list(among), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
