"""An answer as one formula: its clothes off, plain and Unicode mathematics as LaTeX, its last statement."""

import re

from expo_bench.grading.boxed import last_boxed
from expo_bench.grading.characters import as_latex
from expo_bench.grading.numerals import joined
from expo_bench.grading.plain import as_parsed
from expo_bench.grading.units import without_unit
from expo_bench.grading.wrappers import undress, without_remark

_SENTENCE = re.compile(
    r"[A-Z][a-z]*\b.*\b(?:is|are|as|equals|if)\s*:?\s*(?:\$+|\\[(\[])(?P<math>[^$]+?)(?:\$+|\\[)\]])[\s.]*"
)
_TEXT = r"\\(?:text|mbox|mathrm|textrm|textnormal)\s*\{"
_AND_INSIDE = re.compile(
    rf"(?P<alone>{_TEXT}[^{{}}]*?[A-Za-z]),?\s+(?:and|&"
    rf"|\\&)\s*\}}|(?P<before>({_TEXT})[^{{}}]*?[A-Za-z]),?\s+(?:and|&"
    rf"|\\&)\s+(?P<after>[^{{}}\s][^{{}}]*\}})"
)
_NO_TEXT = re.compile(rf"{_TEXT}[\s.,;]*\}}")
_OUTWARD = re.compile(r"(?P<low>[\[\]])(?P<ends>[^\[\]]+[,;][^\[\]]+)(?P<high>[\[\]])")
_AND = re.compile(rf",?\s*(?:{_TEXT}\s*,?\s*(?:and|&|\\&)\s*,?\s*\}}|\b(?:and)\b|\\(?:land|wedge|&)(?![A-Za-z]))\s*,?")
_OR = re.compile(rf",?\s*(?:{_TEXT}\s*,?\s*or\s*,?\s*\}}|\bor\b)\s*,?")
_SEPARATORS = re.compile(r"([,;])\s*[,;]")
_ZEROS = re.compile(r",0\d")
_IMPLIES = re.compile(
    r"\\(?:implies|Rightarrow|Longrightarrow|iff|Leftrightarrow|Longleftrightarrow|therefore)(?![A-Za-z])"
)
_ALL_REALS = re.compile(
    r"(?:[a-z]\s*\\in\s*)?(?:\\(?:text|mathrm)\s*\{)?\s*(?:(?:the\s+)?(?:set\s+of\s+)?all\s+|any\s+|the\s+)?"
    r"real(?:s|\s+numbers?)\s*\}?",
    re.IGNORECASE,
)
_SUBTEXT = re.compile(r"(?<=[_^])\s*\{\s*\\(?:text|mathrm|textrm)\s*\{([^{}]*)\}\s*\}")


def unwrapped(text: str) -> str:
    """Return an answer without its clothes; words stay as they are."""
    text = as_latex(text)
    text = last_boxed(text) or text
    if sentence := _SENTENCE.fullmatch(text):
        text = sentence["math"]
    text = undress(text)
    text += "}" * max(0, _open_braces(text))
    text = undress(text)
    return r"\mathbb{R}" if _ALL_REALS.fullmatch(text) else text


def tidied(text: str) -> str:
    """Return an unwrapped answer as the formula that is to be read; digits of separated numbers are not joined."""
    text = without_remark(text)
    text = _IMPLIES.split(text)[-1].strip() or text
    text = _NO_TEXT.sub(" ", _SUBTEXT.sub(r"{\1}", text))
    text = _AND_INSIDE.sub(_outside, text)
    text = _OR.sub(r" \\lor ", _AND.sub(", ", text))
    text = _SEPARATORS.sub(r"\1", text).strip(" ,;")
    text = without_unit(text)
    if (ends := _OUTWARD.fullmatch(text)) and (ends["low"], ends["high"]) != ("[", "]"):
        text = f"{'[' if ends['low'] == '[' else '('}{ends['ends']}{']' if ends['high'] == ']' else ')'}"
    return " ".join(as_parsed(text).split())


def readings(text: str) -> list[str]:
    """Return the one or two ways to read a tidied answer: "1,234" is a number, and may be a list."""
    whole = joined(text)
    return [whole] if whole == text or _ZEROS.search(text) or not re.search(r"\d,\d{3}", text) else [whole, text]


def _outside(found: re.Match[str]) -> str:
    r"""Draw the "and" out of a text: 12 \text{ chickens and } 30 \text{ rabbits}."""
    if found["alone"]:
        return found["alone"] + "} , "
    return f"{found['before']}}} , {found[3]}{found['after']}"


def _open_braces(text: str) -> int:
    braces = re.sub(r"\\.", "", text)
    return braces.count("{") - braces.count("}")
