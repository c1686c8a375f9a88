"""The answer in a completion. docs/grading.md tells the rules."""

import re

from expo_bench.grading.boxed import last_boxed

MAX_LENGTH = 1000
"""Characters of an answer that is still judged; the longest gold answer of MATH-500 and Omni-MATH has 145."""

_LEAD_IN = r"(?:therefore|thus|then|simply|just|exactly|precisely|equal to|given by|[,:*]|[ \t])*"
_ANSWER = re.compile(rf"\banswer\b[^\n.:=]{{0,40}}?(?:\bis\b|[:=]){_LEAD_IN}", re.IGNORECASE)
_HASHES = re.compile(r"^#### *([-$\\(.\d].*)$", re.MULTILINE)  # else it is a heading
_MATHS = re.compile(r"(?:\$\$?|\\\(|\\\[)(?P<math>[^$]+?)(?:\$\$?|\\\)|\\\])")
_SENTENCE_END = re.compile(r"[.!?;](?=\s|\*|$)|\n")


def extract(text: str, *, truncated: bool = False) -> str | None:
    r"""Return the answer that a completion gives, None if it gives none; in time linear in its length.

    It is looked for after the thoughts: in the last \boxed{}; else, unless the text was cut off, in a box that is
    never closed, after the last "answer is" or "answer:", in the last line that begins with "####" and is no heading.
    """
    conclusion = _after_thoughts(text)
    if conclusion is None:
        return None
    found = last_boxed(conclusion)
    if found is None and not truncated:  # where a text was cut off, such an answer may lack its last digits
        found = _in_open_box(conclusion) or _after_phrase(conclusion) or _after_hashes(conclusion)
    # half a surrogate pair could be neither stored nor printed
    return found.encode(errors="replace").decode() if found else None


def _after_thoughts(text: str) -> str | None:
    if "<|begin_of_solution|>" in text:
        return text.rpartition("<|begin_of_solution|>")[2].partition("<|end_of_solution|>")[0]
    conclusion = text.rpartition("</think>")[2]
    unfinished = "<think>" in conclusion or "<|begin_of_thought|>" in conclusion
    return None if unfinished else conclusion


def _in_open_box(text: str) -> str | None:
    _, box, rest = text.rpartition(r"\boxed{")
    line = rest.partition("\n")[0].strip()
    return line if box and not line.startswith("}") else None


def _after_phrase(text: str) -> str | None:
    for match in reversed(list(_ANSWER.finditer(text))):
        rest = text[match.end() : match.end() + 2 * MAX_LENGTH].lstrip()
        if maths := _MATHS.match(rest):
            return maths["math"].strip()
        if answer := _SENTENCE_END.split(rest, maxsplit=1)[0].strip(" \t*_"):
            return answer
    return None


def _after_hashes(text: str) -> str | None:
    lines = _HASHES.findall(text)
    return lines[-1].strip() if lines else None
