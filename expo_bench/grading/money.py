r"""Amounts of money: a `$` before a digit may begin a formula or be a dollar sign."""

import re

_AMOUNT = re.compile(r"(?:\\?\$|[€£₹¥])\s?(?P<amount>\d[\d,]*(?:\.\d+)?)(?![\d^_{\\$=+*/-])")
_FORMULA = re.compile(r"\$[^$\n]*\$")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_ANOTHER = re.compile(r"\s*,?\s*(?:or|and|to|[-–])\s*(?:\\?\$|[€£₹¥])?\s?\d", re.IGNORECASE)


def amount(text: str) -> str | None:
    """Return the amount of money that a text begins with, without its sign; None where there is none, or two."""
    found = _AMOUNT.match(text)
    if found is None or _ANOTHER.match(text, found.end()):
        return None
    if text.startswith("$") and (formula := _FORMULA.match(text)) and not _WORD.search(formula[0]):
        return None
    return found["amount"].rstrip(",")
