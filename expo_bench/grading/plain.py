r"""LaTeX that the parser misreads, and mathematics typed without LaTeX, put right: sqrt(5), 2^(n-1), C(10,3)."""

import re

_FUNCTIONS = "arcsin|arccos|arctan|arccot|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp|max|min|gcd|lcm"
_REPLACEMENTS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"!=", "! ="),  # in LaTeX a factorial, never "differs from"
        (r"<=", r"\\le "),
        (r">=", r"\\ge "),
        (r"\\(?:leqslant|leqq|leq)(?![A-Za-z])", r"\\le "),
        (r"\\(?:geqslant|geqq|geq)(?![A-Za-z])", r"\\ge "),
        (r"\\neq(?![A-Za-z])", r"\\ne "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:varnothing|O(?![A-Za-z]))", r"\\emptyset"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\(?:l|r)?vert(?![A-Za-z])", "|"),
        (r"\\(?:vee|lor)(?![A-Za-z])", r"\\lor "),
        (r"\\(?:hslash|imath)(?![A-Za-z])", "i"),
        (r"\\exponentialE|\\mathrm\s*\{\s*e\s*\}", "e"),
        (r"\\operatorname\*?\s*\{\s*(" + _FUNCTIONS + r"|arccot)\s*\}", r"\\\1"),
        (r"\\(?:text|mathrm)\s*\{\s*(" + _FUNCTIONS + r")\s*\}", r"\\\1"),
        (r"(?<![\\A-Za-z{])(" + _FUNCTIONS + r")(?=\s*(?:\(|\\|\d|[a-z]\b))", r"\\\1"),
        (r"(?<![\\A-Za-z])(?:sqrt|√)\s*(\d+(?:\.\d+)?)", r"\\sqrt{\1}"),
        (r"(?<![\\A-Za-z])(?:sqrt|√)(?=\s*[({\\a-zA-Z])", r"\\sqrt"),
        (r"(?<![\\A-Za-z])(?:cbrt|∛)(?=\s*[({\d\\a-zA-Z])", r"\\sqrt[3]"),
        (r"\\sqrt\s*(\[[^\]]*\])?\s*(\d|[a-zA-Z]|\\[a-z]+)(?![A-Za-z{])", r"\\sqrt\1{\2}"),
        (r"(?<![\d.^_])(\d+)\s*/\s*(\d+)(?=\s*\\(?:pi|sqrt))", r"\\frac{\1}{\2}"),
        (r"(?<=\d)\.(?![\d.\\])", ""),
        (r"\\text\s*\{\s*infinit[ey]\w*\s*\}", r"\\infty "),
        (r"(?<![\\A-Za-z])pi(?![A-Za-z])", r"\\pi "),
        (r"(?<![\\A-Za-z])inf(?:inity|inite)?(?![A-Za-z])", r"\\infty "),
        (r"\+\s*\\infty", r"\\infty"),
        (r"(?<![\\A-Za-z])floor\s*\(([^()]*)\)", r"\\lfloor \1 \\rfloor "),
        (r"(?<![\\A-Za-z])ceil(?:ing)?\s*\(([^()]*)\)", r"\\lceil \1 \\rceil "),
        (r"(?<![\\A-Za-z])abs\s*\(([^()]*)\)", r"|\1|"),
        (r"\\log\s*_\s*(?:\{\s*e\s*\}|e)", r"\\ln "),
        (r"(\\(?:" + _FUNCTIONS + r"))\s+(?=\^)", r"\1"),
        (r"(?<![A-Za-z\\])[eE]\s*(?=_)", r"\\varepsilon"),  # an index: neither Euler's number nor read by the parser
        (r"(?<=_\{)\s*\\(odot|oplus|star|prime|infty|perp|parallel)\s*(?=\})", r"\1"),
        (
            r"(?<![\\A-Za-z{])(alpha|beta|gamma|delta|epsilon|theta|lambda|sigma|omega|phi|psi|rho)(?![A-Za-z}])",
            r"\\\1 ",
        ),
        (r"(?<![A-Za-z\\_\d^])E(?![A-Za-z_\d])", r"E_{E}"),  # a name; e is Euler's number
        # the parser knows gamma as Euler's constant and as a function
        (r"\\gamma\s*_\s*\{?\s*(\w+)\s*\}?", r"g_{gamma\1}"),
        (r"\\gamma(?![A-Za-z])", r"g_{gamma}"),
        (r"\\Gamma(?![A-Za-z])(?!\s*[({])", r"G_{Gamma}"),
        (r"(?<![A-Za-z.])(?:np|numpy|math|sympy|sp)\.(?=\\?[a-z])", ""),
        (r"\\hbar(?![A-Za-z])", "h_{bar} "),
        (r"\*\*", "^"),
        (r"\*", r"\\cdot "),
        (r"\\(?:ast|bullet)(?![A-Za-z])", r"\\cdot "),
        (r"\{?\s*([\w+-]+)\s*\\over\s*([\w+-]+)\s*\}?", r"\\frac{\1}{\2}"),
        (r"\{\s*([^{}]+?)\s*\\choose\s*([^{}]+?)\s*\}", r"\\binom{\1}{\2}"),
        (r"(\w+)\s*\\choose\s*(\w+)", r"\\binom{\1}{\2}"),
        (r"\\binom\s*(\d)\s*(\d)", r"\\binom{\1}{\2}"),
        (r"(?<![A-Za-z\\_^])(?:C|\\operatorname\{C\})\s*\(\s*([^(),]+?)\s*,\s*([^(),]+?)\s*\)", r"\\binom{\1}{\2}"),
        (r"(?<![A-Za-z\\_^])C\s*_\s*\{?(\w+)\}?\s*\^\s*\{?(\w+)\}?", r"\\binom{\1}{\2}"),
        (r"\{\s*\}\s*_\s*\{?(\w+)\}?\s*C\s*_\s*\{?(\w+)\}?", r"\\binom{\1}{\2}"),
        (r"(?<![A-Za-z\\_^])P\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)", r"\\frac{(\1)!}{(\1-\2)!}"),
        (r"(\d+|[A-Za-z])!\s*\^", r"(\1!)^"),
        (r"(\\(?:ln|log|lg))\s*(\d+|[a-z]|\\pi)\s*(?=\\cdot|\\times)", r"(\1(\2))"),
    )
)
_FRACTION = re.compile(
    r"\\frac\s*(\{(?:[^{}]|\{[^{}]*\})*\}|[0-9A-Za-z]|\\(?:pi|theta"
    r"|alpha)(?![A-Za-z]))\s*([0-9A-Za-z]|\\(?:pi|theta|alpha)(?![A-Za-z]))"
)
_FRACTION_TOP = re.compile(r"\\frac\s*([0-9A-Za-z]|\\(?:pi|theta|alpha)(?![A-Za-z]))\s*(?=\{)")
_ROOT = re.compile(r"\\sqrt\s*(\[[^\]]*\])?\s*(?=\()")
_POWER = re.compile(r"(?<=[\^_])\s*\(")
_ARGUMENT = re.compile(
    r"(\\(?:" + _FUNCTIONS + r")(?:\s*\^\s*(?:\{[^{}]*\}|\d))?(?:_\s*(?:\{[^{}]*\}|\d))?)\s*(?=\\(?:frac|sqrt))"
)
_DEGREE = re.compile(r"\s*\^\s*\{?\s*\\circ\s*\}?")
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")


def as_parsed(text: str) -> str:
    """Return the text as LaTeX that the parser reads rightly."""
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    text = _FRACTION_TOP.sub(r"\\frac{\1}", _FRACTION.sub(_braced, text))
    text = _brace(_ROOT, text, keep=True)
    text = _brace(_POWER, text, keep=False)
    text = _parenthesise(text)
    if not TRIGONOMETRIC.search(text):
        text = _DEGREE.sub("", text)
    return text.strip()


def _braced(found: re.Match[str]) -> str:
    top = found[1] if found[1].startswith("{") else f"{{{found[1]}}}"
    return rf"\frac{top}{{{found[2]}}}"


def _brace(pattern: re.Pattern[str], text: str, *, keep: bool) -> str:
    r"""Turn the parentheses behind a root or `^` into braces."""
    at = 0
    while found := pattern.search(text, at):
        start = found.end() if keep else found.end() - 1
        end = _closing(text, start)
        if end < 0:
            return text
        text = f"{text[: found.end() if keep else found.start()]}{{{text[start + 1 : end]}}}{text[end + 1 :]}"
        at = found.start() + 1
    return text


def _parenthesise(text: str) -> str:
    r"""Put the bare fraction or root behind a function into parentheses: \arcsin\frac12 is not read without."""
    at = 0
    while found := _ARGUMENT.search(text, at):
        end = found.end()
        command = re.compile(r"\\[a-z]+\s*(?:\[[^\]]*\])?").match(text, end)
        end = command.end() if command else end
        for _ in range(2 if text.startswith(r"\frac", found.end()) else 1):
            end = _skip_braces(text, end)
        if end <= found.end():
            return text
        text = f"{text[: found.end()]}({text[found.end() : end]}){text[end:]}"
        at = found.end()
    return text


def _skip_braces(text: str, start: int) -> int:
    while start < len(text) and text[start] == " ":
        start += 1
    if start >= len(text) or text[start] != "{":
        return start + 1 if start < len(text) and text[start].isalnum() else start
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at + 1
    return len(text)


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    return -1
