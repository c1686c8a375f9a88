"""Two hundred answers that hang, crash or fill a naive grader; the gold answer is always 5."""

import random


def hostile_texts() -> list[str]:
    """Return the completions, shuffled."""
    boxed = [*_towers(), *_factorials(), *_nested(), *_calculus(), *_unbalanced(), *_odd_letters()]
    texts = [rf"So the answer is \boxed{{{answer}}}." for answer in boxed] + _megabytes()
    random.Random(0).shuffle(texts)
    return texts


def _towers() -> list[str]:
    plain = [f"{base}^{{{base}^{{{base}^{{{base}}}}}}}" for base in range(5, 30)]
    tens = [f"10^{{10^{{{exponent}}}}}" for exponent in range(8, 18)]
    deep = [f"{base}^{{" * 10 + "2" + "}" * 10 for base in (3, 7)]
    around = [
        r"\frac{9^{9^{9^9}}}{3}",
        r"9^{9^{9}}-9^{9^{9}}+5",
        r"7^{7^{7^7}} \mod 10",
        r"\log_{2}(3^{10^{12}})",
        r"\sqrt{10^{10^{11}}}",
        r"(10^{100000})^{100000}",
        r"10^{-10^{10}}",
        r"\left(\frac{1}{3}\right)^{10^{12}}",
        r"\{9^{9^{9^9}}, 5\}",
        r"x = 8^{8^{8^8}}",
        r"(9^{9^{9^9}}, \infty)",
        r"\sin(9^{9^{9^9}})",
        r"|{-9^{9^{9^9}}}|",
        r"9^{9^{9^9}}\%",
        r"9^{9^{9^9}} \text{ cm}",
        r"\begin{pmatrix} 9^{9^{9^9}} \\ 1 \end{pmatrix}",
        r"1 < 9^{9^{9^9}}",
        r"e^{e^{e^{e^{e^{e}}}}}",
        r"\pi^{\pi^{\pi^{\pi^{\pi}}}}",
    ]
    return plain + tens + deep + around


def _factorials() -> list[str]:
    plain = [f"{n}!" for n in (10**6, 10**7, 10**8, 10**9, 10**12, 123456789, 99999999)]
    twice = [f"({n}!)!" for n in (15, 20, 25, 50, 100, 1000)]
    bangs = ["5!!!!", "6!!!!", "9!!!", r"\frac{(10^9)!}{(10^9-1)!}", r"\binom{10^9}{10^8}", r"\binom{3000000}{1500000}"]
    return plain + twice + bangs


def _nested() -> list[str]:
    answers = []
    for depth in (20, 40, 100, 400):
        pairs = (("(", ")"), ("{", "}"), (r"\left(", r"\right)"), ("[", "]"), (r"\frac{1}{", "}"), (r"\sqrt{", "}"))
        answers += [left * depth + "5" + right * depth for left, right in pairs]
        answers.append("-(" * depth + "5" + ")" * depth)
        answers.append("x^{" * depth + "5" + "}" * depth)
    return answers


def _calculus() -> list[str]:
    return [
        r"\sum_{k=1}^{10^{9}} \frac{1}{k^k}",
        r"\prod_{k=1}^{10^{8}} k",
        r"\sum_{n=1}^{10^7} \sin(n^2)",
        r"\int e^{\sin(x^2)\cos x} dx",
        r"(x+1)^{10000}",
        r"(x+y+z+1)^{400}",
        r"\int_0^\infty \frac{\sin(x^3)}{x^5+1} dx",
        r"\lim_{x\to 0} \sin(x)^{x^x}/x",
        r"\sin(\cos(\tan(\sin(\cos(\tan(x))))))",
        r"\prod_{k=1}^{10^{12}} (1+\frac{1}{k})",
        r"\sum_{k=0}^{\infty} \frac{\sin(k!)}{k!}",
        r"\frac{d}{dx} x^{x^{x^x}}",
    ]


def _unbalanced() -> list[str]:
    whole = [r"\{" * n for n in (1, 10, 300)] + [r"\}" * n for n in (1, 10, 300)]
    sides = [r"\left(" * n + "5" for n in (1, 10, 100)] + ["5" + r"\right)" * n for n in (1, 10, 100)]
    rest = ["(" * n + "5" for n in (1, 10, 30, 900)] + ["5" + ")" * n for n in (1, 10, 30, 900)]
    return (
        whole
        + sides
        + rest
        + ["|" * 41 + "5", r"\frac{1}", r"\frac", r"\sqrt[", "5_", "5^", "^5", "$5", "5$$", r"\begin{pmatrix} 5"]
    )


def _odd_letters() -> list[str]:
    controls = [
        "\x00",
        "\x00\x01\x02",
        "5\x00\x00",
        "\x1b[2J5",
        "\r\r",
        "\x7f5",
        "\u202e5",
        "\ufeff5\u200b",
        "\ud800",
        "\udfff" * 30,
    ]
    letters = [
        "數" * 50,
        "é" * 900,
        "👩‍👩‍👧‍👦" * 90,
        "Z̸̡̛͙a̴͇͝",
        "٥",
        "Ⅴ",
        "５",
        "\\" * 99,
        "&&&&",
        "#####",
        "%" * 300,
        "~" * 300,
        "'" * 200,
    ]
    repeats = [
        "9" * 900,
        "-" * 901 + "5",
        "1+" * 400 + "1",
        "x" * 900,
        "x_" * 400 + "1",
        "2^" * 150 + "2",
        "|1|" * 100,
        "x=" * 300 + "5",
    ]
    return controls + letters + repeats


def _megabytes() -> list[str]:
    size = 1_000_000
    return [
        rf"\boxed{{{'9' * size}}}",
        rf"\boxed{{{'(' * size}}}",
        r"\boxed{" * (size // 7),
        r"\boxed{5}" * (size // 9) + r"\boxed{",
        "answer is " * (size // 10),
        "answer: \n" * (size // 10),
        "answer" + " " * size + "is",
        "$" * size,
        "\\" * size,
        "{" * size,
        "}" * size,
        "####" * (size // 4),
        "<think>" * (size // 7),
        "</think>" * (size // 8),
        "\x00" * size,
        rf"\boxed{{{'{' * (size // 2)}{'}' * (size // 2)}}}",
        rf"The answer is {'5' * size}.",
        rf"The answer is ${'5' * size}",
        "#### " + "5 " * (size // 2),
        "\n" * size + "answer" * (size // 6),
    ]
