import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expo_bench.grading.boxed import last_boxed


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so $x = \boxed{5}$.", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 5 }", "5"),
        (r"\boxed {5}", "5"),
        ("\\boxed\n{5}", "5"),
        (r"\fbox{A}", "A"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"first \boxed{1}, then \fbox{2}", "2"),
        (r"\boxed{\boxed{5}}", "5"),
        # without braces
        (r"$\boxed 5$", "5"),
        (r"$\boxed5$", "5"),
        (r"$\boxed -12$", "-12"),
        (r"$\boxed 1,080.5$", "1,080.5"),
        (r"$\boxed 3/4$.", "3/4"),
        (r"$\boxed x$", "x"),
        (r"$\boxed\frac{1}{2}$", r"\frac{1}{2}"),
        (r"$\boxed\text{A}$.", r"\text{A}"),
        (r"\boxed is a command", None),
        (r"\boxed\alpha", None),
        # escaped braces
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{x\right\}}", r"\left\{x\right\}"),
        (r"\boxed{a\}", None),
        (r"\boxed{1 \\{2}}", r"1 \\{2}"),
        (r"\{ \boxed{5} \}", "5"),
        # backslashes written twice, and a line break before the box
        (r"\\boxed{5}", "5"),
        (r"1 \\\boxed{5}", "5"),
        # nothing in the last box
        (r"\boxed{5} and \boxed{6", "5"),
        (r"\boxed{5} and \boxed{", "5"),
        (r"\boxed{5} and \boxed", "5"),
        (r"\boxed{5}, put into \boxed{}", "5"),
        (r"\boxed{5} and \boxed{{6}", "5"),
        (r"\boxed{a \boxed{5}", "5"),
        (r"} } \boxed{5} {", "5"),
        (r"\boxed{{a}", None),
        (r"\boxed{}", None),
        # no box
        ("", None),
        ("5", None),
        (r"\boxedx{5}", None),
        (r"\boxes{5}", None),
        ("boxed{5}", "5"),  # the backslash was lost
        (r"\boxed\frac12", r"\frac12"),
        (r"\boxed{5} as asked: \boxed{answer}", "5"),
        (r"\framebox{5}", "5"),
    ],
)
def test_table(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


def braces_by_scanning(text: str) -> str | None:
    """The definition, in quadratic time, for boxes with braces and text without backslashes but those of the boxes."""
    end = len(text)
    while (start := text.rfind("\\boxed{", 0, end)) >= 0:
        depth = 0
        for place in range(start + 6, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                if content := text[start + 7 : place].strip():
                    return content
                break
        end = start
    return None


@given(st.lists(st.sampled_from(["\\boxed{", "{", "}", "a", " ", "1"]), max_size=40).map("".join))
def test_agrees_with_the_definition(text: str) -> None:
    assert last_boxed(text) == braces_by_scanning(text)


@given(st.text(alphabet="\\boxedf{} 5-/\n", max_size=60))
def test_never_raises_and_never_returns_what_is_not_there(text: str) -> None:
    content = last_boxed(text)
    assert content is None or (content and content in text)


MILLION = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "{" * MILLION,
        "\\boxed" + "{" * MILLION,
        "\\boxed{" * (MILLION // 7),
        "\\boxed{" * (MILLION // 8) + "}" * (MILLION // 8),
        "\\boxed" + "\\" * MILLION,
        "\\boxed" + "{}" * (MILLION // 2),
        "\\boxed{}" * (MILLION // 8),
        "\\boxed" + " " * MILLION,
        ("\\boxed" + " " * 1000) * 1000,
        "\\boxed\\" + "a" * MILLION,
        "\\boxed\\a{" * (MILLION // 9),
        "\\boxed 1" + ",1" * (MILLION // 2),
    ],
)
def test_hostile_megabyte_in_linear_time(text: str) -> None:
    start = time.process_time()
    last_boxed(text)
    assert time.process_time() - start < 2  # a quadratic scan takes minutes
