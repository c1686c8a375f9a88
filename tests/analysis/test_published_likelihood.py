"""The two properties on the micro world, as published: three seeds, level 5."""

import json
from pathlib import Path

import pytest

from expo_bench import RunFolder

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published" / "micro-likelihood"
SEEDS = (0, 1, 2)


def _rows(seed: int) -> dict[tuple[str, str], dict[str, float]]:
    path = RunFolder(PUBLISHED / f"seed{seed}").likelihood_metrics_path
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {(row["name"], row["source"]): row for row in rows if row["subset"] == "level=5"}


@pytest.mark.parametrize("seed", SEEDS)
def test_own_wrong_above_self_explanation_above_expert(seed: int) -> None:
    rows = _rows(seed)
    assert rows["logprob_gap", "own_incorrect"]["n_problems"] == rows["logprob_gap", "expert"]["n_problems"] == 40
    assert rows["logprob_gap", "own_incorrect"]["ci_low"] > 0
    assert rows["logprob_gap", "expert"]["ci_high"] < 0


@pytest.mark.parametrize("seed", SEEDS)
def test_self_explanation_lifts_the_answer_more_than_own_wrong(seed: int) -> None:
    assert _rows(seed)["lift_gap", "own_incorrect"]["ci_high"] < 0


def test_seeds_are_separate_runs_of_one_protocol() -> None:
    manifests = [RunFolder(PUBLISHED / f"seed{seed}").read_manifest() for seed in SEEDS]
    assert [one.seed for one in manifests] == list(SEEDS)
    assert len({one.protocol_hash for one in manifests}) == len({one.model["weights_digest"] for one in manifests}) == 1
    assert all(one.status == "finished" and one.counts["problems"] == 40 for one in manifests)
