"""The language-model head on the tokens that are scored, and on no others."""

from collections.abc import Iterator
from contextlib import contextmanager

from trl.trainer import utils

LARGE = 2**15
"""Entries of a vocabulary from which on the head is worth it: below, steps stay those of TRL to the last bit."""


@contextmanager
def scored_tokens_only(vocabulary: int) -> Iterator[None]:
    """Let TRL project the tokens of completions only, where it has no Triton and would project prompts and padding too.

    TRL asks for Triton to decide which tokens it projects, and again, elsewhere, how: the first answer is changed here.
    """
    asked = utils._use_triton
    if vocabulary >= LARGE:
        utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = asked
