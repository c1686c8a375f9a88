"""What users are told: what is wrong with what they gave, and between which ends a number lies."""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

# of a step: floats of decimals are no nearer
_EXACT = 1e-6


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


def reason(error: Exception) -> str:
    """Return why a file cannot be read, without number and name: those who tell of it name the file."""
    return getattr(error, "strerror", None) or str(error)


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """Return " (did you mean X?)" where one of the words is near, else nothing."""
    near = get_close_matches(word.lower(), list(among), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def span(low: float | None, high: float | None, decimals: int | None = 1, *, scale: float = 100, sign: str = "") -> str:
    """Write an interval as every page and table does, its ends rounded outwards, so that it holds what was computed.

    Args:
        low: the lower end, or None.
        high: the upper end.
        decimals: of both ends; None for three significant digits of each.
        scale: 100 writes a rate in percent.
        sign: "+" writes the sign of a difference.

    Returns:
        "1.2–3.4", or "-1.2 to 3.4", where a dash would stand beside a minus sign; nothing without ends.
    """
    if low is None or high is None:
        return ""
    ends = [_outward(scale * end, decimals, up, sign) for end, up in ((low, False), (high, True))]
    return f"{ends[0]} to {ends[1]}" if sign or any(end.startswith("-") for end in ends) else "\N{EN DASH}".join(ends)


def _outward(value: float, decimals: int | None, up: bool, sign: str) -> str:
    short = decimals is None
    if decimals is None:
        decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    steps = value * 10**decimals
    # what is a whole step but for its last binary digit stays
    whole = math.ceil(steps - _EXACT) if up else math.floor(steps + _EXACT)
    text = f"{whole / 10**decimals + 0.0:{sign},.{decimals}f}"
    return text.rstrip("0").rstrip(".") if short and decimals else text
