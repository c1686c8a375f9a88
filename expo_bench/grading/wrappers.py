r"""Clothes of an answer: delimiters, fonts, sizes, spaces, colours, labels and remarks around a formula."""

import re

from expo_bench.grading.boxed import last_boxed

_DELIMITER = re.compile(r"(?<!\\)(?:\$+|\\[()\[\]])")
_SPACES = re.compile(
    r"(?<!\\)\\(?:[,;:> ]|q?quad\b|hfill\b|hspace\*?\{[^{}]*\}|vspace\*?\{[^{}]*\}|mathstrut\b"
    r"|strut\b|null\b|thinspace\b|enspace\b)|~"
)
_STYLES = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|large|Large|LARGE|huge|Huge|small"
    r"|normalsize|rm|bf|it|sf|tt|cal|boldmath"
    r"|[Bb]igg?[lrm]?|left|right|middle|square|blacksquare|Box|qed|checkmark|bigstar|star"
    r"|tag\*?\{[^{}]*\}|label\{[^{}]*\}"
    r"|phantom\s*(?:\{[^{}]*\}|-)|color\{[^{}]*\}(?!\s*\{))(?![A-Za-z])"
)
_DOT_SIDE = re.compile(r"\\(?:left|right)\s*\.(?!\d)")
_FONT = re.compile(
    r"\\(?:boldsymbol|bm|pmb|mathbf|mathit|mathsf|mathtt|mathcal|emph|underline|textbf|textit|textsf"
    r"|texttt|ensuremath|mathord"
    r"|displaylines|mathop|hbox|textcolor\s*\{[^{}]*\}|color\s*\{[^{}]*\}|colorbox\s*\{[^{}]*\}"
    r"|underbracket|underbrace|overbrace)\s*(?=\{)"
)
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textrm|textnormal)\s*(?=\{)")
_LETTER = re.compile(r"\\mathrm\s*\{\s*([eidxyz])\s*\}")
_ENVIRONMENT = re.compile(
    r"\\begin\{(?P<name>array|aligned|align\*?|equation\*?|gathered|gather\*?"
    r"|split)\}(?:\{[^{}]*\})?(?P<body>.*)\\end\{(?P=name)\}",
    re.DOTALL,
)
_MARKDOWN = re.compile(r"\*\*(.+)\*\*|__(.+)__|`+(.+?)`+", re.DOTALL)
_LEAD = re.compile(
    r"(?:\\(?:Rightarrow|Longrightarrow|rightarrow|implies|therefore|to|approx|because|hence)(?![A-Za-z])|=(?!=)|:)\s*"
)
_LABEL = re.compile(
    r"(?:\\(?:text|mathrm|mbox|textbf|textit)\s*\{(?P<marked>[^{}]*)\}(?P<colon>\s*:)?"
    r"|(?P<plain>(?:the |final |my )*answer(?:s)?(?: is| are)?(?: *:)?|result *:))\s*(?=\S)",
    re.IGNORECASE,
)
_IS_LABEL = re.compile(r"(?:.*\b(?:is|are|equals|be)|.*[:=])\s*", re.DOTALL)
_NEGATES = re.compile(
    r"\b(?:not|no|never|least|most|less|more|greater|fewer|than|about|approximately|or|either)\b|n't", re.I
)
_REMARK = re.compile(
    r"\s*,?\s*(?:\\(?:text|mathrm|mbox|textrm)\s*\{\s*,?\s*(?:\([^{}()]*\)\s*\}|\([^{}()]*\}.*\)"
    r"|(?:for\s+(?:all|any|every|each)|where|with|since|because)\b[^{}]*\}.*)"
    r"|\\(?:forall|because)\b.*|(?:for all|for any|for every|where|since|because)\b.*|\((?:since"
    r"|because|exactly|as)\b[^()]*\))\Z",
    re.DOTALL,
)
_ROUNDS = 8


def undress(text: str) -> str:
    r"""Return a formula without what is around it and does not belong to it; one text in, one text out."""
    text = _DOT_SIDE.sub(" ", text)
    text = re.sub(r",\s*\\!\s*", ",", text).replace(r"\!", "")
    text = _LETTER.sub(r"\1", text)
    for _ in range(_ROUNDS):
        before = text
        text = " ".join(_STYLES.sub(" ", _SPACES.sub(" ", _DELIMITER.sub(" ", text))).split())
        text = last_boxed(text) or text if "box" in text else text
        text = _without_fonts(text)
        text = _whole(text)
        text = _LEAD.sub("", text, count=1) if _LEAD.match(text) else text
        text = _without_label(text)
        text = re.sub(r"\\\\\s*\Z", "", text)
        text = re.sub(r"(?<!\\)\\\Z", "", text)
        if not text.endswith("..."):
            text = text.rstrip(" .,;:")
        if text == before:
            return text
    return text


def without_remark(text: str) -> str:
    """Return an answer without a remark behind it, such as "(exactly)" or "for all x"."""
    return _REMARK.sub("", text) or text


def in_braces(text: str, start: int) -> int:
    """Return the place behind the `}` that closes the `{` at `start`; -1 where nothing closes it."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] in "{}" and not (at and text[at - 1] == "\\" and not text[:at].endswith("\\\\")):
            depth += 1 if text[at] == "{" else -1
            if depth == 0:
                return at + 1
    return -1


def _without_fonts(text: str) -> str:
    """Take fonts off whatever they stand around, unless it is words: these are told by their font."""
    at = 0
    while found := _FONT.search(text, at):
        end = in_braces(text, found.end())
        inside = text[found.end() + 1 : end - 1]
        if end < 0 or (re.fullmatch(r"[A-Za-z ,.:'-]{2,}|\(?[A-H]\)?", inside) and found[0].startswith(r"\text")):
            at = found.end()
            continue
        if re.fullmatch(r"[-\d\s.,]+", inside):  # bold digits, one by one: \mathbf{1 4 4 0 0}
            inside = "".join(inside.split())
        text = text[: found.start()] + "{" + inside + "}" + text[end:]
        at = found.start()
    return text


def _whole(text: str) -> str:
    """Unwrap an answer that stands whole in braces, Markdown, an environment of one row, or in text with digits."""
    if found := _MARKDOWN.fullmatch(text):
        text = (found[1] or found[2] or found[3]).strip()
    if (found := _ENVIRONMENT.fullmatch(text)) and not re.search(r"&|\\\\\s*\S", found["body"]):
        text = found["body"].strip()
    if text.startswith("{") and in_braces(text, 0) == len(text):
        text = text[1:-1].strip()
    if found := _TEXT.match(text):
        inside = text[found.end() + 1 : -1]
        if in_braces(text, found.end()) == len(text) and re.search(r"[\d\\]", inside):
            text = inside.strip()
    return text


def _without_label(text: str) -> str:
    found = _LABEL.match(text)
    if found is None:
        return text
    words = found["marked"] if found["plain"] is None else found["plain"]
    said = found["colon"] or _IS_LABEL.fullmatch(words) or not words.strip()
    return text if not said or _NEGATES.search(words) else text[found.end() :]
