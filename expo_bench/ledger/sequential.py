"""Which of two policies is better, looked at after every round of samples: evidence that may be read at any time."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import betaln

from expo_bench.errors import UserError
from expo_bench.ledger.outcomes import read_outcomes
from expo_bench.storage.run_folder import RunFolder

DECIDED = 20.0
"""Evidence at which the question is decided: under equal policies it is ever reached with a chance of 1/20 at most."""


def evidence(up: int, down: int) -> float:
    """Return the e-value of `up` against `down` discordant pairs of samples; may be infinite.

    A pair is one sample of each run on the same problem; it is discordant where one of them is right. If the two solve
    these problems at one rate each, either is as likely to be the right one, whatever happened before: the pairs are
    fair coins. e = 2^N B(1/2 + up, 1/2 + down) / B(1/2, 1/2) is the mean likelihood ratio of biased coins under
    Jeffreys' prior, a martingale that starts at 1 (Ville 1939; Robbins 1970).
    """
    log = (up + down) * math.log(2) + float(betaln(0.5 + up, 0.5 + down) - betaln(0.5, 0.5))
    return math.exp(log) if log < 700 else math.inf


def check_alike(one: Path, other: Path, allow_different_protocol: bool) -> None:
    """Refuse two runs under different protocols, unless that is allowed."""
    hashes = [RunFolder(path).read_manifest().protocol_hash for path in (one, other)]
    if hashes[0] != hashes[1] and not allow_different_protocol:
        raise UserError(
            f"{one} and {other} were run under different protocols: evaluate both alike, or compare them nevertheless "
            "with --allow-different-protocol"
        )


def count_pairs(one: Path, other: Path, grader: str) -> tuple[int, int]:
    """Return how many samples of `other` are right where the paired one of `one` is wrong, and the reverse.

    Samples are paired by problem and order, on the problems that both runs hold.
    """
    runs = [read_outcomes(path, grader, path.name) for path in (one, other)]
    ids = [problem for problem in runs[0].problems if problem in runs[1].problems]
    first, second = (run.only(ids) for run in runs)
    n = np.minimum(first.n, second.n)
    left, right = first.first(n), second.first(n)
    return int((right & ~left).sum()), int((left & ~right).sum())


def told(rounds: Sequence[tuple[int, int]], names: tuple[str, str]) -> dict[str, Any]:
    """Return the evidence after each round, whether it decides, and a sentence.

    Args:
        rounds: discordant pairs for and against the second run, of each round by itself.
        names: of the two runs.
    """
    up, down, steps = 0, 0, []
    for number, (more_up, more_down) in enumerate(rounds):
        up, down = up + more_up, down + more_down
        steps.append({"round": number, "up": up, "down": down, "evidence": min(evidence(up, down), 1e300)})
    decided = steps[-1]["evidence"] >= DECIDED
    better, worse = (names[1], names[0]) if up > down else names
    how = f"evidence {steps[-1]['evidence']:.3g}, decided at {DECIDED:.0f}"
    sentence = (
        f"{better} is better than {worse} on these problems: right in {max(up, down)} of the {up + down} pairs "
        f"of samples of which one is right ({how})."
        if decided
        else f"Not decided between {names[0]} and {names[1]} on these problems: {up} pairs of samples speak for "
        f"{names[1]}, {down} against ({how})."
    )
    return {"rounds": steps, "decided": decided, "better": better if decided else None, "sentence": sentence}
