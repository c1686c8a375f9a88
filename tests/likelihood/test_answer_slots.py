"""The probability of an answer in its slot: against all ways to write it, and at every boundary of many tokenizers."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from expo_bench.engines.base import Continuation, Message, Scorer, ScoreRequest
from expo_bench.engines.vocabulary import Vocabulary
from expo_bench.likelihood.answer_slots import OPENING, SlotScore, answer_slot
from expo_bench.likelihood.covers import Cover
from tests.likelihood.small_tokenizers import FAMILIES, CertainScorer, small


def run(slot: SlotScore, engine: Scorer) -> int:
    """Score a slot; return the number of rounds."""
    rounds = 0
    more = True
    while more:
        rounds += 1
        parts = tuple(slot.continuations())
        message: Message = {"role": "user", "content": "q"}
        for scored in engine.score([ScoreRequest(problem_id="p", messages=(message,), continuations=parts)]):
            slot.take(scored)
        more = slot.go_on()
    return rounds


BOUNDARIES = {
    "inline": ("The answer is \\(", "18", "}\\)."),
    "inline, spaced": ("The answer is \\( ", "18", "} \\)."),
    "dollar": ("The answer is $", "18", "}$."),
    "two dollars": ("so $$", "18", "}$$"),
    "display": ("so\n\\[\n", "18", "}\n\\]"),
    "within an equation": ("\\(2 + 3 = ", "5", "}\\)"),
    "bold": ("The answer is **", "18", "}**"),
    "plain": ("The answer is ", "18", "}."),
    "no space": ("The answer is:", "18", "}"),
    "newline": ("The sum is 18.\n", "18", "}\n"),
    "paragraph": ("The sum is 18.\n\n", "18", "}"),
    "no chain": ("", "18", "}"),
    "one digit": ("The answer is \\(", "5", "}\\)"),
    "four digits": ("The answer is $", "1200", "}$."),
    "minus": ("The answer is $", "-3", "}$"),
    "decimal": ("The answer is ", "3.5", "}."),
    "fraction": ("= ", "\\frac{1}{2}", "}$."),
    "letter": ("is \\(", "x+1", "}\\)"),
    "power": ("is \\(", "x^2", "}\\)"),
    "unit": ("is ", "12\\text{ cm}", "}."),
    "root": ("is $", "\\sqrt{2}", "}$"),
    "escaped dollar": ("is ", "\\$18", "}."),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_policy_that_is_certain_of_its_text_is_certain_of_its_answer(family: str, boundary: str) -> None:
    chain, answer, close = BOUNDARIES[boundary]
    tokenizer = small(family)
    engine = CertainScorer(tokenizer, f"{chain}{OPENING}{answer}{close}")
    slot = SlotScore("s", engine, chain, answer, None)
    run(slot, engine)
    assert slot.answer_logprob == pytest.approx(0, abs=1e-6)
    assert slot.opening_logprob == pytest.approx(0, abs=1e-6)
    assert slot.slack == pytest.approx(0, abs=1e-6)


def test_the_micro_tokenizer_writes_words() -> None:
    chain = "3 + 4 = 7, therefore "
    engine = CertainScorer(small("micro"), f"{chain}{OPENING}11}}")
    right, wrong = (SlotScore("s", engine, chain, answer, None) for answer in ("11", "1"))
    run(right, engine)
    run(wrong, engine)
    assert right.answer_logprob == pytest.approx(0)
    assert wrong.answer_logprob == -math.inf


@pytest.mark.parametrize("family", ["qwen", "gpt2", "unigram"])
def test_another_answer_is_none(family: str) -> None:
    engine = CertainScorer(small(family), f"The answer is \\({OPENING}18}}\\).")
    for answer in ("1", "8", "180", "-18"):
        slot = SlotScore("s", engine, "The answer is \\(", answer, None)
        run(slot, engine)
        assert slot.answer_logprob == -math.inf


def test_the_boundaries_differ_as_tokens() -> None:
    # what made the earlier number wrong: the closing brace alone is hardly ever a token
    tokenizer = small("qwen")
    names = tokenizer.convert_ids_to_tokens(
        tokenizer(f"is \\({OPENING}18}}\\).", add_special_tokens=False)["input_ids"]
    )
    assert "}" not in names
    assert any(name.startswith("}") for name in names)


class TinyScorer(CertainScorer):
    """Tokens of a few letters; each sequence of them has a distribution of its own."""

    PIECES = (
        "a",
        "b",
        "c",
        "ab",
        "ba",
        "bc",
        "cb",
        "abc",
        "bb",
        "}",
        "b}",
        "}a",
        "c}b",
        "{",
        "{a",
        "a{",
        OPENING,
        "ed{",
    )

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._vocabulary = Vocabulary({0: b"<end>", **{at: one.encode() for at, one in enumerate(self.PIECES, 1)}}, {0})

    def tokenize(self, text: str) -> tuple[int, ...]:
        ids = self.cover(text.encode())
        assert ids is not None
        return (*ids, 0)

    def next(self, before: tuple[int, ...]) -> dict[int, float]:
        draw = random.Random(f"{self._seed} {before}")
        weights = [draw.expovariate(1) ** 3 for _ in range(len(self.PIECES) + 1)]
        return {token: weight / sum(weights) for token, weight in enumerate(weights)}

    def begins(self, before: tuple[int, ...], text: bytes) -> float:
        """Return the probability that what follows begins with the text, by trying every sequence of tokens."""
        total = 0.0
        for token, probability in self.next(before).items():
            written = self._vocabulary.texts[token] if token else b""
            if written.startswith(text):
                total += probability
            elif written and text.startswith(written):
                total += probability * self.begins((*before, token), text[len(written) :])
        return total


@pytest.mark.parametrize("answer", ["a", "abc", "bbab", "abcabcba"])
@pytest.mark.parametrize("chain", ["", "a", "abcab"])
@pytest.mark.parametrize("seed", range(3))
def test_sum_over_all_ways_to_write_the_answer(seed: int, chain: str, answer: str) -> None:
    engine = TinyScorer(seed)
    opened = engine.tokenize(chain + OPENING)[:-1]
    slot = SlotScore("s", engine, chain, answer, None)
    run(slot, engine)
    # the opening's last token is left open: it may be joined with the answer's first
    *before, last = opened
    rest = engine.token_texts([last])[0]
    expected = engine.begins(tuple(before), rest + answer.encode() + b"}") / engine.begins(tuple(before), rest)
    assert slot.slack < 5e-3
    assert slot.answer_logprob == pytest.approx(math.log(expected), abs=slot.slack + 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_tree_is_exact_where_nothing_is_left_out(seed: int) -> None:
    engine, text = TinyScorer(seed), b"abcb}"
    cover = Cover((2, len(text)), tolerance=0.0)
    paths = [((), 0)]
    rounds = 0
    while paths:
        for path, at in paths:
            ids = (*path, *(engine.cover(text[at:]) or ()))
            cover.take(ids, _branches(engine, ids, text, (2, len(text))))
        paths = cover.wanted()
        rounds += 1
    assert cover.logprob(0) == pytest.approx(math.log(engine.begins((), b"ab")))
    assert cover.logprob(1) == pytest.approx(math.log(engine.begins((), text)))
    assert cover.slack(0) == pytest.approx(0, abs=1e-12)
    assert cover.slack(1) == pytest.approx(0, abs=1e-12)
    assert rounds > 1


def _branches(engine: TinyScorer, ids: Sequence[int], text: bytes, marks: tuple[int, ...]) -> Any:
    return engine._score("p", Continuation(key="k", token_ids=tuple(ids), text=text, marks=marks)).branches


@pytest.mark.parametrize("seed", range(5))
def test_what_was_not_looked_at_is_bounded(seed: int) -> None:
    engine, text = TinyScorer(seed), b"abcbabcb}"
    cover = Cover((len(text),))
    ids = engine.cover(text) or ()
    cover.take(ids, _branches(engine, ids, text, (len(text),)))
    truth = math.log(engine.begins((), text))
    assert cover.logprob(0) <= truth + 1e-12
    assert truth <= cover.logprob(0) + cover.slack(0) + 1e-12


def test_sampled_ids_are_kept_up_to_the_last_place_where_the_joint_tokens_begin_anew() -> None:
    tokenizer = small("qwen")
    engine = CertainScorer(tokenizer, "")
    chain = "The answer is \\("
    joint = engine.tokenize(chain + OPENING + "18}")[:-1]
    odd = tuple(tokenizer.convert_tokens_to_ids(list("The"))) + engine.tokenize(" answer is \\(\\boxed{18}\\).")
    assert odd != engine.tokenize(chain + "\\boxed{18}\\).")
    (part,) = SlotScore("s", engine, chain, "18", odd).continuations()
    assert part.token_ids[:3] == odd[:3]
    assert part.token_ids[-len(joint) + 1 :] == joint[1:]
    (other,) = SlotScore("s", engine, chain, "18", engine.tokenize("Another text")).continuations()
    assert other.token_ids == joint


def test_a_slot_that_the_tokenizer_does_not_write_is_told() -> None:
    class Changing(CertainScorer):
        def tokenize(self, text: str) -> tuple[int, ...]:
            return super().tokenize(text.replace(OPENING + "1", "one"))

    with pytest.raises(ValueError, match="does not write"):
        SlotScore("s", Changing(small("qwen"), ""), "is ", "18", None)


def test_a_slot_behind_the_end_has_a_paragraph_of_its_own() -> None:
    assert answer_slot("3 apples and ", truncated=True).before == "3 apples and\n\n"
