"""Tokenizers of four families, trained in a moment on a few lines, and a policy that is certain of what it writes."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from expo_bench.engines.base import Branch, Continuation, Scored, ScoreRequest
from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.rendering import chain_ids
from expo_bench.engines.vocabulary import Vocabulary

# what the published files of the families split a text by, before they merge
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

_ENDS = ["}", "}.", "}\\)", "}\\).", "}$", "}$.", "}\n\\]", "}**", "}}$", "} cm"]
_STARTS = ["", " ", "\\(", " \\(", "$", " $", "\\[\n", "**", "is ", "= ", "\n"]
_ANSWERS = ["5", "18", "-3", "1200", "\\frac{1}{2}", "3.5", "x+1", "x^2", "12\\text{ cm}", "\\sqrt{2}", "\\$18"]
_LINES = [f"The answer is{start}\\boxed{{{answer}{end}" for start in _STARTS for answer in _ANSWERS for end in _ENDS]

FAMILIES = ("qwen", "llama3", "gpt2", "unigram", "sentencepiece-bpe")


@cache
def small(family: str) -> Any:
    """Return a tokenizer of a family, or `micro`."""
    if family == "micro":
        return load_tokenizer(find_model("micro"))
    end = ["<|end|>"]
    if family == "unigram":
        subject = Tokenizer(models.Unigram())
        subject.pre_tokenizer = pre_tokenizers.Metaspace()
        subject.decoder = decoders.Metaspace()
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=400, special_tokens=["<unk>", *end], unk_token="<unk>", initial_alphabet=_alphabet()
        )
    elif family == "sentencepiece-bpe":
        # as Llama 2 and Gemma: no splitting, and a token for each byte that has no letter of its own
        subject = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        subject.normalizer = normalizers.Sequence([normalizers.Replace(" ", "\u2581")])
        replaced = decoders.Replace("\u2581", " ")
        subject.decoder = decoders.Sequence([replaced, decoders.ByteFallback(), decoders.Fuse()])
        bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=700, special_tokens=["<unk>", *end, *bytes_], initial_alphabet=_alphabet(), max_token_length=8
        )
    else:
        subject = Tokenizer(models.BPE())
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=family == "gpt2")
        pattern = {"qwen": _QWEN, "llama3": _LLAMA3}.get(family)
        split = [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
        subject.pre_tokenizer = pre_tokenizers.Sequence([*split, level])
        subject.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=420, special_tokens=end, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    subject.train_from_iterator(_LINES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=subject, eos_token="<|end|>")


def _alphabet() -> list[str]:
    return ["\u2581", *(chr(code) for code in range(33, 127))]


class CertainScorer:
    """A policy that writes one text, in the tokens that its tokenizer gives to the whole of it, and nothing else."""

    def __init__(self, tokenizer: Any, text: str) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = Vocabulary.of(tokenizer)
        self._written = chain_ids(tokenizer, text)

    def tokenize(self, text: str) -> tuple[int, ...]:
        return chain_ids(self._tokenizer, text)

    def token_texts(self, ids: Sequence[int]) -> list[bytes]:
        return [self._vocabulary.texts[token] for token in ids]

    def cover(self, text: bytes) -> tuple[int, ...] | None:
        return self._vocabulary.cover(text)

    def next(self, before: tuple[int, ...]) -> dict[int, float]:
        """Return the probabilities of what follows some ids."""
        expected = self._written[: len(before)] == before
        return {self._written[len(before)]: 1.0} if expected else {self._written[-1]: 1.0}

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        for request in requests:
            for one in request.continuations:
                yield self._score(request.problem_id, one)

    def _score(self, problem_id: str, one: Continuation) -> Scored:
        ids = one.token_ids
        places = [self.next(ids[:at]) for at in range(one.given, len(ids))]
        branches = []
        for query, place in zip(self._vocabulary.queries(one) if one.marks else [], places, strict=False):
            ends = [
                sum(place.get(token, 0.0) for token in self._vocabulary.order[low:high]) for low, high in query.ends
            ]
            inside = tuple((token, n, _log(place.get(token, 0.0))) for token, n in query.inside)
            branches.append(Branch(inside=inside, ends=tuple(map(_log, ends))))
        return Scored(
            problem_id=problem_id,
            key=one.key,
            token_ids=ids[one.given :],
            logprobs=np.array(
                [_log(place.get(token, 0.0)) for token, place in zip(ids[one.given :], places, strict=True)],
                dtype="float32",
            ),
            entropies=None,
            branches=tuple(branches),
        )


def _log(value: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log(value))
