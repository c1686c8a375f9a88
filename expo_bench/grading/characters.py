"""Unicode's mathematics as LaTeX."""

import re
import unicodedata

_LATEX = {
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": r"\div ",
    "∗": "*", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "φ": r"\phi ",
    "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "≡": r"\equiv ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ",
    "°": r"^\circ ", "º": r"^\circ ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ", "∠": r"\angle ", "→": r"\to ",
    "⇒": r"\Rightarrow ", "∨": r"\lor ", "∧": r"\land ", "、": ", ", "，": ", ", "。": ".", "：": ":", "；": ";",
    "\u200b": "", "\ufeff": "", "\u2061": "", "\u2062": "", "✓": "", "✔": "", "✅": "",
    "∖": r"\setminus ", "…": r"\ldots ",
}  # fmt: skip
_CONTROLS = dict.fromkeys((*range(32), 127, 0xA0), " ")
_TABLE = str.maketrans(_LATEX | _CONTROLS)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ⁽⁾", "0123456789+-ni()")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ₍₎", "0123456789+-n()")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ⁽⁾]+")
_LOWERED_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋ₙ₍₎]+")
_VULGAR = {
    letter: unicodedata.normalize("NFKD", letter).split("⁄")
    for letter in map(chr, (0xBC, 0xBD, 0xBE, *range(0x2150, 0x215F)))
}
_LOST_SLASH = re.compile(r"(?<![\\A-Za-z])\x0c?rac(?=\s*\{)")
_VULGAR_LETTER = re.compile(f"[{''.join(_VULGAR)}]")


def as_latex(text: str) -> str:
    """Return the text with letters of other alphabets and signs as LaTeX; control characters are blanks."""
    if not text.isascii():
        text = _RAISED_RUN.sub(lambda run: f"^{{{run[0].translate(_RAISED)}}}", text)
        text = _LOWERED_RUN.sub(lambda run: f"_{{{run[0].translate(_LOWERED)}}}", text)
        text = _VULGAR_LETTER.sub(_fraction, text)
        text = text.translate(_TABLE)
        text = unicodedata.normalize("NFKC", text)
    text = _LOST_SLASH.sub(r"\\frac", text)  # "\f" was read as a form feed
    return text.translate(_TABLE).strip()


def _fraction(letter: re.Match[str]) -> str:
    top, bottom = _VULGAR[letter[0]]
    return rf"\frac{{{top}}}{{{bottom}}}"
