"""The answer in a completion. docs/grading.md tells the rules."""

import re

from expo_bench.grading.announcements import announced, announced_choice, tagged
from expo_bench.grading.boxed import last_box
from expo_bench.grading.conclusions import conclusion

_BARE = re.compile(
    r"[\s$*]{0,9}([-+]?(?:\d[\d,]{0,20}(?:\.\d{1,20})?(?:/\d{1,20})?|\\[dt]?frac\{\d{1,20}\}\{\d{1,20}\})%?|\(?[A-F]\)?)[\s$*.]{0,9}"
)
MAX_LENGTH = 1000
"""Characters of an answer that is still judged; the longest gold answer of MATH-500 and Omni-MATH has 145."""


def extract(text: str, *, truncated: bool = False) -> str | None:
    r"""Return the answer that a completion gives, None if it gives none; in time linear in its length.

    It is looked for after the thoughts: in the last \boxed{}, in <answer> tags; else, unless the text was cut off, in
    the last announcement: "answer is", "answer:", a heading "Answer", "#### "; else the text, if it is a number or the
    letter of a choice and nothing else.
    """
    concluded = conclusion(text)
    found = None if concluded is None else _find(concluded, truncated)
    # half a surrogate pair could be neither stored nor printed
    return found.encode(errors="replace").decode() if found else None


def _find(text: str, truncated: bool) -> str | None:
    box = last_box(text, open_too=not truncated)
    if box is not None:
        # "\\boxed{n \\ll m}. Answer: D": the letter is asked for, the formula is its reason
        letter = None if truncated else announced_choice(text[box.end :])
        return letter or box.content
    inside = tagged(text, open_too=not truncated)
    if truncated:  # where a text was cut off, other answers may lack their last digits
        return inside
    if inside is not None:
        return announced(inside, 2 * MAX_LENGTH) or inside
    if (bare := _BARE.fullmatch(text)) is not None:
        return bare[1]
    return announced(text, 2 * MAX_LENGTH)
