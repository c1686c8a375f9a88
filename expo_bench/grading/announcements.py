r"""Answers that a text announces outside of a box: "the answer is", "Answer:", a heading, "#### ", <answer> tags."""

import re
from collections.abc import Iterator

from expo_bench.grading.money import amount

_LEAD_IN = (
    r"(?:therefore|thus|then|simply|just|exactly|precisely|obviously|clearly|indeed|actually|equal to|given by|[,:*：]"
    r"|[ \t])*"
)
_PHRASE = (
    r"\banswers?\b(?:(?<=answer)[^\n.:=→]{0,40}?(?:\bis\b|\b(?:must|should|will|would|to)\s+be\b|[:=→]|\s[-–—]\s)"
    r"|(?<=answers)[^\n.:=→]{0,40}?\bare\b)"
)
_CHINESE = r"答案\s*(?:[是为]|[:：])"
_OPTION = r"\b(?:correct|right|best)\s+(?:option|choice)\b[^\n.:=→]{0,20}?(?:\bis\b|[:=→])"
_HEADING = r"^[#*_> \t]*(?:the[ ]+)?(?:final[ ]+|correct[ ]+)?answer[*_ \t]*\n(?:[=-]{3,}[ \t]*\n)?"
# "A: 12" before a line with "B:" is a choice of the question
_SHORT = r"^[*_> \t]*(?:A|Ans\.?)[*_ \t]*:[*_ \t]*(?=[-$\\(]*[\d\\$])(?![^\n]*\n+[*_> \t]*B[*_ \t]*[:.)])"
_HASHES = r"(?P<hashes>(?<!\#)\#{4}(?!\#)\s*(?=\*{0,2}[-−$€£(.\d\\]))"
_ANNOUNCEMENT = re.compile(
    rf"(?:{_PHRASE}|{_OPTION}|{_CHINESE}|{_HEADING}|{_SHORT}){_LEAD_IN}|{_HASHES}", re.IGNORECASE | re.MULTILINE
)
_TAG = "<answer>", "</answer>"

_MATHS = re.compile(r"(?:\$\$?|\\\(|\\\[)(?P<math>[^$]+?)(?:\$\$?|\\\)|\\\])")
_JOINED = re.compile(r"\s*(?P<by>,?\s*(?:and|or)\b|,|;)\s*(?=\$|\\[(\[]|-?\d)")
_PLAIN_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_SENTENCE_END = re.compile(r"[.!?;](?=\s|\*|<|$)|。|\n")
_REASON = re.compile(r",?\s+(?:because|since|which|where|as\s+(?:the|we|it|this|required|desired|expected))\b|,\s+so\b")
_MARKUP = " \t*_`"

_SAID = re.compile(r"[A-Z][a-z]*\s.+", re.DOTALL)
_HEDGED = re.compile(
    r"\b(?:not|no|never|least|most|less|fewer|more|greater|larger|smaller|about|approximately|around|roughly|almost"
    r"|nearly|over|under|above|below|between|or|either|neither|than|if|when|unless|except|times|percent|half|dozen"
    r"|hundred|thousand|million|billion|trillion|minus|negative|square[ds]?|cubed?|factorial|modulo|mod|remainder)\b"
    r"|[=<>%^/+\\]|n't\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.,])-?\d(?:[\d,]*\d)?(?:\.\d+)?(?![\w])")


def announced(text: str, most: int) -> str | None:
    """Return the last answer that is announced, None where there is none; what follows is read `most` letters far."""
    for found in reversed(list(_ANNOUNCEMENT.finditer(text))):
        rest = text[found.end() : found.end() + most]
        answer = _first_line(rest) if found["hashes"] else _announced_at(rest)
        if answer:
            return answer
    return None


def tagged(text: str, *, open_too: bool = False) -> str | None:
    """Return what stands in the last closed <answer> tags, None where there are none or they are empty.

    With `open_too` also what follows a tag that is not closed: where "</answer>" stops the engine, it is cut off.
    """
    before, end, after = text.rpartition(_TAG[1])
    if open_too and (rest := after.partition(_TAG[0])[2].strip()):
        return rest
    inside = before.rpartition(_TAG[0])
    return inside[2].strip() if end and inside[1] and inside[2].strip() else None


def announced_choice(text: str) -> str | None:
    """Return the letter of a choice that a text announces last ("Answer: D"), None where that is something else."""
    answer = announced(text, 40)
    return answer if answer and re.fullmatch(r"\(?[A-F]\)?", answer) else None


def _first_line(rest: str) -> str:
    return rest.partition("\n")[0].strip(_MARKUP)


def _announced_at(rest: str) -> str | None:
    rest = rest.lstrip(" \t\n\r*_`>}")  # "\\text{Answer: } 5": the brace ends the label
    if paid := amount(rest):
        return paid
    if found := _MATHS.match(rest):
        return "".join(_listed(rest, found))
    sentence = _SENTENCE_END.split(rest, maxsplit=1)[0]
    sentence = _REASON.split(sentence, maxsplit=1)[0].strip(_MARKUP)
    return _said(sentence) or sentence or None


def _listed(rest: str, found: re.Match[str]) -> Iterator[str]:
    """Yield a formula and those that are joined to it by commas, "and" and "or"."""
    yield found["math"].strip()
    while joined := _JOINED.match(rest, found.end()):
        following = _MATHS.match(rest, joined.end()) or _PLAIN_NUMBER.match(rest, joined.end())
        if following is None:
            return
        by = joined["by"].strip(" ,\t\n")
        yield f" {by} " if by in ("and", "or") else ", "
        yield (following.groupdict().get("math") or following[0]).strip()
        found = following


def _said(sentence: str) -> str | None:
    """Return the only number of a sentence such as "She makes 18 dollars a day", None beside words such as "not"."""
    if not _SAID.fullmatch(sentence) or _HEDGED.search(sentence):
        return None
    numbers = {*_NUMBER.findall(sentence)}
    return numbers.pop() if len(numbers) == 1 else None
