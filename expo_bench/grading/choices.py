"""Answers that are words, and letters of choices."""

import re

_WRAPPED = re.compile(r"\\(?:text|math)[a-z]*\s*\{([^{}]*)\}|\\boldsymbol\{([^{}]*)\}|\$|\*\*|\\[,;: ]|~")
_DELIMITER = re.compile(r"(?<!\\)\\[()\[\]]")
_CHOICE = re.compile(
    r"(?:the\s+)?(?:(?i:option|choice|answer)\s+)?\(?(?P<letter>[A-F])\)?(?:(?<=\))\s*.*|[.):]\s.*"
    r"|[.):])?|\(?(?P<small>[a-f])\)?",
    re.DOTALL,
)
_ANOTHER_CHOICE = re.compile(r"\([A-F]\)|\b[A-F]\)|\bor\b|\band\b|,\s*[A-F]\b")
_FONT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|operatorname)\b\s*")
_WORDS = re.compile(
    r"[^\W\d_](?:[^\W\d_]|[,.'&-])*|[^\W\d_]{3}[\w,.'&-]*|\d{1,2}(?::\d\d){1,2}(?:[ap]\.?m\.?)?|\d{1,2}[ap]\.?m\.?",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\d{1,2}(?::\d\d){1,2}")
_FILLER = re.compile(
    r"^(?:(?:it|this|they|he|she|(?:the|this)\s+[a-z]+)\s+(?:is|are)\s+(?!not\b))?(?:(?:an?|the|on|in|at)\s+(?=\w{3}))?",
    re.IGNORECASE,
)
_YES_ALONE = re.compile(r"yes|no|true|false")
_YES = re.compile(
    r"(?P<word>yes|no|true|false)(?:[,.;:]\s*\w|\s+(?:it|they|s?he|this|that|the|because|since)\b).*",
    re.IGNORECASE | re.DOTALL,
)


def choice(text: str) -> str | None:
    r"""Return the letter of a choice of A to F in "B", "(b)", "\text{B}", "B) its text", "option B"; else None."""
    text = _DELIMITER.sub(" ", text).strip()
    while text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    text = _WRAPPED.sub(lambda found: (found[1] or found[2] or " ") if found[0] != "$" else "", text).strip()
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    if match["small"]:
        return match["small"].upper()
    return None if _ANOTHER_CHOICE.search(text, match.end("letter") + 1) else match["letter"]


def gold_choice(gold: str) -> str | None:
    r"""Return the letter of a gold answer that is one of A to F: bare, in brackets, in `\text{(C)}`; else None."""
    bare = _FONT.sub("", gold.strip().strip("$"))
    found = re.fullmatch(r"\{*\s*(?P<open>\(?)\s*(?P<letter>[A-F])\s*\)?\s*\}*", bare)
    if found is None or (found["letter"] in "EF" and not found["open"] and bare == gold.strip()):
        return None
    return found["letter"]


def compare_choice(gold: str, answer: str) -> bool | None:
    """Return whether the answer is the choice whose letter is gold; None where gold is no letter of a choice.

    Nothing else is asked: for mathematics, "A = B" would be B.
    """
    letter = gold_choice(gold)
    return None if letter is None else choice(answer) == letter


def words(text: str) -> str | None:
    r"""Return the letters of an answer that is words, such as `\text{(C)}` or "east", or a time of day; else None.

    A single letter counts if it is marked as text or stands in brackets: otherwise it is a variable.
    """
    plain = _FONT.sub("", text)
    bare = re.sub(r"[{}()\s~*]|\\[ ,;!]", "", plain)
    bare = re.sub(r"([ap])\.m\.?", r"\1m", bare, flags=re.IGNORECASE)
    if not _WORDS.fullmatch(bare) or (len(bare) == 1 and plain == text and "(" not in text):
        return None
    return bare.casefold()


def same_words(gold: str, answer: str) -> bool | None:
    """Return whether two answers are the same words, articles aside; None where gold is none, or may be a product."""
    left = words(gold)
    if left is None:
        return None
    right = words(answer)
    if left == right or (_CLOCK.fullmatch(left) and right is not None and right[:-2] == left):
        return True
    plain = [" ".join(re.sub(r"[{}()~]|\\[ ,;!]", " ", _FONT.sub("", one)).split()) for one in (gold, answer)]
    one, other = (_FILLER.sub("", side).casefold().strip(" .") for side in plain)
    if _YES_ALONE.fullmatch(one) and (said := _YES.fullmatch(other)):
        other = said["word"]
    if one.removesuffix("s") == other.removesuffix("s"):
        return True
    return False if len(left) > 3 or _FONT.search(gold) else None
