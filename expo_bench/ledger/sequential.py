"""Which of two policies is better, looked at after every round of samples: evidence that may be read at any time."""

import math

from scipy.special import betaln

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
