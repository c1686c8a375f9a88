"""What a policy may emit must neither stop a run nor change other verdicts."""

import time
from collections import Counter

import pytest

from expo_bench.grading.judge import Attempt, Judge, Verdict
from tests.grading.hostile_answers import hostile_texts

pytestmark = pytest.mark.slow

TIMEOUT = 5.0


def test_hostile_answers() -> None:
    texts = hostile_texts()
    assert len(texts) == len(set(texts)) == 200
    honest = [Attempt(gold="h^2-1", text="\\boxed{(h-1)(h+1)}"), Attempt(gold="h^2-1", text="\\boxed{(h-1)^2}")]
    attempts = [attempt for text in texts for attempt in (Attempt(gold="5", text=text), *honest)]
    with Judge(timeout_seconds=TIMEOUT) as judge:
        list(judge.judge_many(honest))  # the workers have started
        began = time.monotonic()
        verdicts = list(judge.judge_many(attempts))
        seconds = time.monotonic() - began
        later = list(judge.judge_many(Attempt(gold="k+1", text=f"\\boxed{{1+k+{n}}}") for n in range(20)))

    assert [verdict.correct for verdict in verdicts[1::3]] == [True] * len(texts)
    assert [verdict.correct for verdict in verdicts[2::3]] == [False] * len(texts)
    assert [verdict.correct for verdict in later] == [n == 0 for n in range(20)]
    _check_hostile(dict(zip(texts, verdicts[::3], strict=True)), seconds)


def _check_hostile(verdicts: dict[str, Verdict], seconds: float) -> None:
    counts = Counter(verdict.status for verdict in verdicts.values())
    refused = sum(verdict.status == "timeout" and not verdict.seconds > 0.1 for verdict in verdicts.values())
    print(f"{dict(counts)}, {refused} of the time-outs without trying, {seconds:.1f} s in all")
    assert counts["timeout"] >= 100
    assert seconds <= counts["timeout"] * TIMEOUT / 4
    right = [text for text, verdict in verdicts.items() if verdict.correct]
    assert len(right) <= 10 and all(any(five in text for five in "5５٥") for text in right)
    assert all(len(verdict.extracted or "") <= 1000 for verdict in verdicts.values())
