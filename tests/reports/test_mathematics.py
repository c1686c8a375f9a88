"""LaTeX as MathML: what is a formula, what stays text, and what hostile LaTeX costs."""

import random
import re
import time
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expo_bench.reports import mathematics
from expo_bench.reports.mathematics import MOST_CHARACTERS, to_mathml, with_formulas
from expo_bench.reports.text import visible

BITS = (
    "\\frac", "{", "}", "^", "_", "\\left(", "\\right)", "x", "1", "\\sqrt", "[", "]", "\\begin{matrix}", "\\\\", "\\[",
    "\\end{matrix}", "&", "\\over", "\\hspace{99em}", "\\text{", "\\mathbb{R}", "'", "\\not", "\\]", "$", "$$", "\n",
    "\\href{javascript:alert(1)}{x}", "\\def\\a{\\a\\a}", "\\newcommand", "<script>", "&#60;b&#62;", "\\(", "\\)", "%",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("so $x^2$ is", ["$x^2$"]),
        ("it costs $5 and $6 in all", []),
        ("$5 for apples and pears, then $x$ more", ["$x$"]),
        (r"an escaped \$5 and $y$", ["$y$"]),
        ("$$a+b$$ and \\(c\\)", ["$$a+b$$", "\\(c\\)"]),
        ("\\[\n\\frac{1}{2}\n\\]", ["\\[\n\\frac{1}{2}\n\\]"]),
        (r"so \boxed{\frac{3}{4}}.", [r"\boxed{\frac{3}{4}}"]),
        (r"\begin{align*} a &= b \\ c &= d \end{align*}", [r"\begin{align*} a &= b \\ c &= d \end{align*}"]),
        (r"unended \( x and \[ y and \boxed{ z and $w", []),
        ("a $ b $ c", []),
        (r"$\text{two words here}$", [r"$\text{two words here}$"]),
        (f"${'x' * (MOST_CHARACTERS + 1)}$", []),
    ],
)
def test_what_is_a_formula(text: str, formulas: list[str]) -> None:
    shown = str(with_formulas(text))
    found = re.findall(r'<span class="tex">(.*?)</span>', shown, flags=re.DOTALL)
    assert [unescape(one) for one in found] == formulas
    assert shown.count("<math") == len(formulas)


def test_a_fraction_is_one() -> None:
    drawn = to_mathml(r"\frac{a}{2} + \sqrt{3}")
    assert drawn is not None
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mn>2</mn></mrow></mfrac><mo>+</mo><msqrt>" in drawn


@pytest.mark.parametrize(
    "latex", [r"\href{javascript:alert(1)}{x}", r"\def\a{\a\a}\a", r"\newcommand{\b}{\b\b}\b", "{" * 200, r"x_{", ""]
)
def test_what_is_not_drawn_stays_text(latex: str) -> None:
    assert to_mathml(latex) is None or latex == ""
    assert "<a " not in with_formulas(f"${latex}$")


@given(st.lists(st.sampled_from(BITS), max_size=40).map("".join))
def test_nothing_is_lost_and_nothing_gets_through(text: str) -> None:
    shown = str(with_formulas(text))
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z]+)", shown))
    assert tags <= mathematics._TAGS | {"span"}
    assert not re.search(r"<[^>]*(href|style=|on\w+=)", shown)
    kept = re.sub(r"<math.*?</math>", "", shown, flags=re.DOTALL)
    assert unescape(re.sub(r"<[^>]+>", "", kept)) == visible(text)


def test_hostile_formulas_cost_a_bounded_time() -> None:
    draw = random.Random(0)
    texts = ["$" + "".join(draw.choices(BITS[:22], k=300))[:999].replace("$", "") + "$" for _ in range(300)]
    texts += ["\\[" * 50_000, "$" * 100_000, "\\boxed{" * 20_000, "$" + "x'" * 499 + "$"]
    token = mathematics.budget.set(mathematics.Budget(mathematics.PAGE_BYTES))
    began = time.process_time()
    try:
        shown = [with_formulas(text) for text in texts]
    finally:
        mathematics.budget.reset(token)
    assert time.process_time() - began < 8
    assert sum(len(one) for one in shown) < mathematics.PAGE_BYTES + 10 * sum(map(len, texts))
