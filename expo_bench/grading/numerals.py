r"""How numbers are written: separators of thousands, mixed numbers, repeating decimals, 4.8e8, bases."""

import re
from fractions import Fraction

_BRACED_COMMA = re.compile(r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d)")
_SPACED_GROUPS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,?\\[!,;: ]+|\\,| |, ?\\!\s*)\s*\d{3}(?!\d))+(?![\d,])")
_GROUPS = re.compile(r"(?<![\d.,}^_(\[])(?<!\\\{)\d{1,3}(?:,\d{3})+(?![\d])(?!,\d)")
_REPEATING = re.compile(
    r"(?P<before>-?\d*)\.(?P<once>\d*)\\(?:overline|bar|dot"
    r"|overbar)\s*\{?(?P<period>\d+)\}?(?:\\dot\{?(?P<last>\d)\}?)?"
)
_DOTTED = re.compile(
    r"(?<![\d])(?P<before>-?\d*)\.(?P<once>\d*?)(?P<period>\d{1,6}?)(?P=period){2,}(?:\s*\\(?:ldots|dots|cdots)|\.{3})"
)
_DOTTED_TWICE = re.compile(
    r"(?<![\d])(?P<before>-?\d*)\.(?P<once>\d*?)(?P<period>\d{2,9}?)(?P=period){1,}(?:\s*\\(?:ldots|dots|cdots)|\.{3})"
)
_EXPONENT = re.compile(r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![\d.A-Za-z])")
_TIMES_TEN = re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)")
_MIXED = re.compile(
    r"(?<![\d.,}^_\w)!])(?P<whole>\d+)\s*(?:\\frac\s*\{\s*(?P<top>\d+)\s*\}\s*\{\s*(?P<bottom>\d+)\s"
    r"*\}(?!\s*\\frac)|(?<=\s)(?P<a>\d+)\s*/\s*(?P<b>\d+)(?![\d.]))"
)
_BASED = re.compile(
    r"[({]*(?:\\text\s*\{)?(?P<digits>-?[0-9A-F]+(?:\.[0-9A-F]+)?)[)}]*\s*(?:_\s*\{?\s*(?:\\text\s*\{"
    r"\s*)?\(?(?P<base>-?\d+|[a-z]+)\)?\s*\}?\s*\}?"
    r"|[( ]*(?:\\text\s*\{\s*\(?\s*)?\(?\s*(?:in\s+)?base\s*\}?\s*\$?(?P<said>-?\d+|[a-z]+)\s*\)?\s*\}?\)?|)\}?"
)
_NAMES = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_ONES = f"zero one {_NAMES} seventeen eighteen nineteen".split(" ")
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {name: number for number, name in enumerate(_ONES)} | {
    f"{tens}-{ones}" if number else tens: 10 * at + number
    for at, tens in enumerate(_TENS, start=2)
    for number, ones in enumerate(_ONES[:10])
}
_SPELLED = re.compile(
    r"(?:\\(?:text[a-z]*|mathrm|mbox)\s*\{)?\s*(?P<minus>(?:negative|minus)\b\s*)?\}?\s*"
    rf"(?P<number>{'|'.join(sorted(_WORDS, key=len, reverse=True))}|(?<=\s|\}})\d+)\s*\}}?",
    re.IGNORECASE,
)
_BASES = {name: str(number) for number, name in enumerate(_NAMES.split(" "), start=2)}
PLAIN = re.compile(r"-?\s*(?:\d+\.?\d*|\.\d+)")
_MOST_DIGITS = 100


def spelled_out(text: str) -> str:
    r"""Return an answer that is a number in words up to 99 in digits: seven, \text{negative }3; others as they are."""
    found = _SPELLED.fullmatch(text.strip())
    if found is None or not (found["minus"] or found["number"].isalpha() or "-" in found["number"]):
        return text
    number = found["number"].casefold()
    return ("-" if found["minus"] else "") + str(_WORDS.get(number, number))


def joined(text: str) -> str:
    """Return the text with the digits of each number joined: 70{,}000, 10 080, 1,234,567, x = 1,000."""
    text = _BRACED_COMMA.sub(",", text)
    text = _SPACED_GROUPS.sub(lambda found: re.sub(r"\D", "", found[0]), text)
    return _GROUPS.sub(lambda found: found[0].replace(",", ""), text)


def written_out(text: str) -> str:
    r"""Return the text with numbers as they are parsed: 0.\overline{3} a fraction, 1\frac12 a sum, 4.8e8 a product."""
    text = _REPEATING.sub(_rational, text)
    text = _DOTTED_TWICE.sub(_rational, _DOTTED.sub(_rational, text))
    text = _EXPONENT.sub(r"\1 \\cdot 10^{\2}", text)
    text = _TIMES_TEN.sub(r" \\cdot ", text)
    return _MIXED.sub(_sum, text)


def base_of(text: str) -> tuple[str, str | None] | None:
    """Return digits and base of a whole number, the base None where it is not told; None for anything else."""
    found = _BASED.fullmatch(text.strip())
    if found is None:
        return None
    base = found["base"] or found["said"]
    if base is not None and not base.lstrip("-").isdigit():
        if base not in _BASES:
            return None
        base = _BASES[base]
    return found["digits"].lstrip("0") or "0", base


def _rational(found: re.Match[str]) -> str:
    before, once, period = found["before"], found["once"], found["period"]
    last = found.groupdict().get("last") or ""
    period += last
    if len(once) + len(period) > _MOST_DIGITS:
        return found[0]
    value = Fraction(int((before.lstrip("-") or "0") + once + period) - int((before.lstrip("-") or "0") + once))
    value /= 10 ** len(once) * (10 ** len(period) - 1)
    sign = "-" if before.startswith("-") else ""
    return rf"{sign}\frac{{{value.numerator}}}{{{value.denominator}}}"


def _sum(found: re.Match[str]) -> str:
    top, bottom = found["top"] or found["a"], found["bottom"] or found["b"]
    if int(bottom) <= int(top):
        return found[0]
    return rf"({found['whole']}+\frac{{{top}}}{{{bottom}}})"
