"""Kinds of answers that graders get wrong, each by a few of its forms. The worker's functions are called directly."""

import pytest

from expo_bench.grading.equivalence import check_gold, same
from expo_bench.grading.extraction import extract
from expo_bench.grading.units import without_unit

SAME = [
    (r"\text{(C)}", r"\(\text{(C)}\)"), (r"0.56 = 56\%", "56\\%"),
    # clothes
    (r"\frac34", r"\,\frac{3}{4}\,"), ("42", r"\boldsymbol{42}"), ("42", r"\color{red} 42"),
    ("7", r"\text{Answer: }7"),
    ("7", "**7**"), ("7", r"\begin{aligned} 7 \end{aligned}"), ("7", r"\bigl[7\bigr]"), ("7", r"\mathbf{7}\\"),
    ("7", r"\text{The sum is } 7"), ("7", r"\textbf{Answer: } 7"), ("7", "7 ✓"), ("166cm^2", r"166 \text{ cm}^2"),
    ("166cm^2", "166 cm"), ("120", r"\mathbf{1 2 0}"),
    # numbers
    ("58500", "x = 58,500"), ("1234567", r"1\,234\,567"), (r"\frac{12}{5525}", r"\frac{12}{5,\!525}"), ("8", "８"),
    (r"\frac13", r"0.\overline{3}"), ("1.8", r"1\frac45"), ("1.8", "1 4/5"), ("-2.5", r"-2\frac12"), ("6", "3(2)"),
    ("18", r"3\binom{4}{2}"), ("48000", "4.8e4"), ("4210_5", r"4210 \text{ (base 5)}"), ("1/2", "½"),
    (r"\sqrt{13}", "√13"), (r"3\sqrt{5}", "3*sqrt(5)"), ("2^{n-1}", "2^(n-1)"), ("120", "C(10,3)"), ("10^8", "10⁸"),
    ("120", r"{10 \choose 3}"), (r"\sqrt{51}", "7.141428"), ("-2", r"\sqrt[3]{-8}"), (r"\frac34\pi", r"3/4\pi"),
    # signs of percent and ±, i, degrees, logarithms
    (r"12.5\%", "12.5"), ("0.125", r"12.5\%"), (r"3 \pm \sqrt5", r"3-\sqrt5, 3+\sqrt5"), ("6-5i", "6 - 5 i"),
    ("-1", "i^2"),
    (r"\cos 20^\circ", r"\sin 70^\circ"), (r"90^\circ", "90"), (r"\log_2 2015 - 1", r"\log_2 \frac{2015}{2}"),
    (r"\ln 6", r"\log 6"), (r"\log 100", "2"), ("24", r"24 \pmod{100}"), (r"N \equiv 672 \pmod{1000}", "672"),
    # units
    ("15", r"15\mbox{ cm}^2"), (r"89 \mathrm{~km} / \mathrm{h}", "89"), ("29", "€29"), ("12", r"12 \text{ chickens}"),
    ("5000000", r"5 \text{ million}"), ("25", "25°C"), ("5", "5 m/s"), ("70000", r"\$70,000 \text{ per year}"),
    # vectors, lists, sets
    (r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", r"\frac15\begin{pmatrix}1\\-18\end{pmatrix}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)"), ("(4,-9)", "x=4, y=-9"),
    ("(1,2),(3,4)", r"(x,y)\in\{(3,4),(1,2)\}"),
    ("12, 30", r"12 \text{ chickens and } 30 \text{ rabbits}"), ("3:4", "6:8"), ("(2,5)", "2 < x < 5"),
    (r"(-\infty,1)\cup(6,\infty)", r"x<1 \text{ or } x>6"),
    (r"(-\infty,5)\cup(5,\infty)", r"\mathbb{R} \setminus \{5\}"),
    ("[-3,8]", r"8 \ge x \ge -3"), (r"\emptyset", r"\varnothing"),
    (r"(-\infty,\infty)", r"\mathbb{R}"), (r"\mathbb{R}", r"\text{All real numbers}"),
    ("[2,5)", r"\{x \in \mathbb{R} : 2 \le x < 5\}"), ("[2,5)", r"\{x \mid 2 \leq x < 5\}"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "[[1,2],[3,4]]"),
    ("a=3, b=4", "b=4, a=3"), ("x_1=1, x_2=2", "x_1=2, x_2=1"), (r"(3,\frac{\pi}{2})", r"r=3, \theta=\frac{\pi}{2}"),
    (r"\frac12", r"\frac12 \text{ or } 0.5"),
    # named results
    ("84", r"\operatorname{lcm}(12,7)=84"), ("5", r"|v|=5"), ("204", "m+n = 187+17 = 204"),
    ("9", r"x=9 \text{ (since } x>0)"),
    ("12", r"\text{Area of } ABC = 12"), ("f(x) = 1/x", "f(t) = 1/t"), ("x+y=5", "2x+2y-10=0"), ("2x+3", "y = 2x+3"),
    ("186", r"21+20+\cdots+10=186"), ("1048064", r"512(2^{0}+\cdots+2^{10})=512 \cdot 2047=1048064"),
    ("40", r"\phi(100)=100 \frac{1}{2} \frac{4}{5}=40"), ("113", r"\lfloor E\rfloor=113"),
    # words
    (r"\text{ellipse}", r"\text{an ellipse}"), (r"\text{Yes}", "yes, it converges"),
    (r"\text{Tuesday}", r"\text{on Tuesday}"), ("4:30\\text{ p.m.}", "4:30 pm"),
    (r"\text{No solution}", "no solutions"),
    # Greek letters, derivatives
    (r"\alpha+\gamma", "gamma + alpha"), (r"\gamma_1^2-1", r"(\gamma_1-1)(\gamma_1+1)"), (r"\gamma = 60^\circ", "60"),
    (r"\frac{d x}{d t}=k x-a", r"\frac{dx}{dt} = -a + kx"), ("np.arcsin(10/13)", r"\sin^{-1}\frac{10}{13}"),
    # functions
    (r"\lfloor n/2 \rfloor", "floor(n/2)"), (r"\ln 2", r"\log_e 2"), ("|x|", r"\sqrt{x^2}"),
    (r"\tan^2 y+1", r"\sec^2 y"), (r"\lceil n/2 \rceil", r"\lfloor (n+1)/2 \rfloor"),
    # numbers in words, ratios, hours of the day, one letter that is the gold answer's unit
    ("7", r"\text{seven}"), ("21", "twenty-one"), ("-3", r"\text{negative }3"), ("1:2", r"1 \text{ to } 2"),
    ("3:45", r"3:45 \text{ p.m.}"), (r"3 \text{ hours}", "3 h"), (r"2 \text{ liters}", "2L"),
    (r"12 \text{ cubic feet}", r"12 \text{ ft}^3"), (r"60 \text{ mph}", r"60 \text{ miles per hour}"),
    (r"5 \text{ dollars}", r"\$5.00"),
    # sizes as sets, brackets that look outwards, a sentence about a word
    (r"[-1,1]", r"|x| \le 1"), (r"(-\infty,-1)\cup(1,\infty)", "|x|>1"), ("(1,3]", "]1,3]"), ("[0,1)", "[0,1["),
    ("even", "the function is even"), (r"\frac12", r"\frac12\text{.}"),
    # derivatives and inverse functions as names of a value
    ("f'(x)=2x", "2x"), ("2x", "y'=2x"), ("f'(1)=3", "3"), (r"f^{-1}(x)=\frac{x-1}{2}", r"\frac{x-1}{2}"),
    ("y''+y=0", "y''=-y"),
]  # fmt: skip

DIFFERENT = [
    ("187", r"21+20+\cdots+10=186"), ("186", r"1+\cdots+10=55=186"), ("55", r"55 = 1+2+\cdots"),
    (r"\gamma+1", "1"), (r"m c^2(\gamma^2-1)", r"m c^2(\gamma^2+1)"), (r"\gamma", "0.5772156649"),
    (r"\frac{dx}{dt}=kx-a", r"\frac{dx}{dt}=kx+a"),
    # infinities, powers of units, names
    ("0", r"\infty"), (r"\infty", "0"), (r"(-\infty,0]", r"(+\infty,0]"), (r"\infty", r"-\infty"),
    ("166cm^2", r"166\text{ cm}^3"), (r"864 \mbox{ inches}^2", r"864 \mbox{ inches}^1"),
    ("a=3, b=4", "a=4, b=3"), ("a=3, b=4", "4, 3"), (r"\angle A_1=90, \angle B=90", r"\angle A_{11}=90, \angle B=90"),
    (r"\text{No}", r"\text{No solution}"), ("[[1,2],[3,4]]", r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}"),
    (r"\mathbb{R}", r"\text{all real numbers except } 5"), ("7", r"7 \text{ or } 8"),
    ("x+y+z=0", "x-y+z=0"), ("AB=12", "BC=12"), ("5", r"5 \text{ tenths}"), ("5", "5'"),
    # tiny differences
    (r"\frac{1}{2^{2012}}", "2^{-2011}"), (".0000672", ".0000671"), (r"1-\left(\frac12\right)^{2016}", "1"),
    (r"\frac{1}{2062300}", "0"), (r"\frac{2013^{2014}}{2013^{2013}-1}", r"\frac{2013^{2014}}{2013^{2013}+1}"),
    ("3", "2.9999999"), (r"2\pi", "6.28"), (r"\frac13", "0.33"), (r"\sqrt{10^{900}+1}", r"10^{450}"),
    (r"x+\frac{1}{2^{300}}", "x"),
    # side by side
    ("11", "5(6)"), ("5", "2(3)"), (r"\frac72", r"(3)\frac12"), ("9", r"3\binom42"), ("12", "1 2"),
    (r"\sqrt5", "√51"),
    # what is no unit
    ("24", r"24 \text{ million}"), ("7", r"7 \text{ is wrong}"), ("5", r"5 \text{ feet } 6 \text{ inches}"),
    ("5", "5 squared"),
    ("5", r"5\text{ cents} + x"), ("5", r"5 \text{ or less}"), ("2", "2h"), ("5", r"5\text{ R }2"),
    ("5", r"5 \text{ mod } 7"),
    ("5", r"5 \text{ percent of } x"), ("5", r"5\text{ below zero}"), ("5", r"5 \text{ dozen}"),
    # dots, degrees
    ("106", r"1+2+3+\ldots+100"), ("1,2", r"1,2,\cdots"), (r"\sin 30^\circ", r"\sin 30"),
    ("90", r"90^\circ + 360^\circ k"),
    # what is not solved, or contradicts itself
    ("5", "x+2=7"), ("(5,\\infty)", r"\frac{1}{x-5}>0"), (r"[-2,7]", r"x^2-5x-4 \le 10"), ("7", "8 = 7"),
    ("n=3k", "3"),
    (r"\frac34", r"\frac mn=\frac34 \Rightarrow m+n=7"), (r"\frac23", r"\frac23 \approx 10.67, 3"),
    # parts
    ("13", "AB=12, BC=13"), ("7", r"\{1,7\}"), ("7", r"x \ne 7"), ("7", r"\le 7"), ("4", r"4 \text{ or } 5"),
    ("1,000", "1,0"),
    ("(1,4)", "[1,4]"), ("1,2", "1,2,3"), ("3:4", "4:3"), ("50", "0.5"), (r"\frac14", "25"), (r"\pm 3", "3"),
    (r"\text{east}", r"\text{seat}"), ("x<4", r"x \le 4"), ("y=2x+3", "y=2x-3"), ("(1,2)", "y=1, x=2"),
    # units of one dimension
    (r"5 \text{ cm}", r"5 \text{ m}"), (r"5 \text{ hours}", r"5 \text{ minutes}"),
    (r"6 \text{ dollars}", r"6 \text{ cents}"),
    (r"\$5", r"5 \text{ cents}"), (r"60 \text{ mph}", r"60 \text{ km/h}"), (r"12 \text{ ft}^2", r"12 \text{ in}^2"),
    (r"5 \text{ m/s}", r"5 \text{ km/s}"), (r"2 \text{ hours}", "2 m"),
    # floors that do nothing at whole numbers
    (r"\lfloor x\rfloor", r"\lceil x\rceil"), (r"\lfloor x\rfloor", "x"), (r"\lfloor x\rfloor+1", r"\lceil x\rceil"),
    # marks that a parser drops
    ("f'(x)", "f(x)"), ("f''(x)", "f'(x)"), ("f'(x)=2x", "f(x)=2x"), ("y'", "y"), ("A^T", "A"), ("f(1)=3", "f(2)=3"),
    (r"f^{-1}(x)", r"\frac{1}{f(x)}"), (r"p\land q", r"p\lor q"),
    ("7", r"\text{seventy}"), ("even", "the function is not even"), ("[0,1)", "]0,1]"), (r"(-1,1)", "|x|>1"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_same(gold: str, answer: str) -> None:
    assert check_gold(gold)
    assert same(gold, answer)


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different(gold: str, answer: str) -> None:
    assert check_gold(gold)
    assert not same(gold, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>18</answer>", "18"),
        ("The correct option is (B).", "(B)"),
        ("The right choice: C", "C"),
        ("<think>\\boxed{5}</think><answer> 6 </answer>", "6"),
        ("The answer is 18.<|im_end|>", "18"),
        ("The answer is 18</s></s>", "18"),
        ("◁think▷\\boxed{5}◁/think▷ \\boxed{4}", "4"),
        ("<thinking>\\boxed{4}", None),
        ("<answer>18", "18"),
        ("Q: 9 and 9?\nA: 18", "18"),
        ("A: 12\nB: 13", None),
        ("**Ans:** $18$", "18"),
        ("Final Answer\n======\n18", "18"),
        ("### Final Answer\n$4$", "4"),
        ("## Answer\n\n**18**", "18"),
        ("The answer is 7.\n#### 18", "18"),
        ("#### 18\nSo the answer is 19.", "19"),
        ("so #### **18**", "18"),
        ("#### $70,000", "$70,000"),
        ("The answer is $70,000 and not $80,000.", "70,000"),
        ("The answer is $2$ and $3$.", "2 and 3"),
        ("The answer is $x=4$, $y=5$.", "x=4, y=5"),
        ("The answer is $4$, since $2+2=4$.", "4"),
        ("Answer: She makes $18 every day.", "18"),
        ("Answer: It is not 18.", "It is not 18"),
        ("The answer is 18 because 9 * 2 = 18.", "18"),
        ("Hence the answer must be 4.", "4"),
        ("答案是 12。", "12"),
        (r"\boxed{42}. (I was asked to use \boxed{answer}.)", "42"),
        (r"First \boxed{42}, then \boxed{17", "17"),
        (r"\boxed{n \ll m}. **Answer: D**", "D"),
    ],
)
def test_extract(text: str, answer: str | None) -> None:
    assert extract(text) == answer


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("5 years old", "5"), ("5 of them", "5"), (r"3 \text{ ft/s}", "3"), (r"2\pi r h", r"2\pi r h"),
        ("3 R^2", "3 R^2"),
        (r"12 \text{ dozen eggs}", r"12 \cdot 12"), (r"5 \text{ in } 7", r"5 \text{ in } 7"),
        ("5 halves", "5 halves"),
    ],
)  # fmt: skip
def test_units(text: str, left: str) -> None:
    assert without_unit(text) == left
