"""Who finds whose chains likely: four perplexities (arXiv 2504.13837), and which right samples training lifts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expo_bench.ledger.rank_bias import mean
from expo_bench.ledger.scores import Scores
from expo_bench.rows import Candidate
from expo_bench.stats import Floats
from expo_bench.storage.run_folder import RunFolder

OWN = ("own_correct", "own_incorrect")
Model = Mapping[str, Any]
"""As `Manifest.model`: name and digest of the weights."""


def perplexities(
    base: tuple[Model, Scores | None], trained: tuple[Model, Scores | None], folders: Sequence[Path]
) -> dict[str, Any]:
    """Return the quartiles of PPL_scorer(text) = exp(-mean log P per token) over chains, for four pairs.

    Args:
        base: its model, and the log-probabilities of its run's samples, where they were read.
        trained: the same of the trained model.
        folders: candidates with likelihoods; each cell takes the first folder that has it. What a policy thinks of its
            own samples is taken from its run where no folder has it.

    Returns:
        For each pair its quartiles and number of chains, or null with the reason.
    """
    (one, base_own), (other, trained_own) = base, trained
    alike = _same(str(one["name"]), one.get("weights_digest"), other)
    # of two runs of one policy, a folder does not say from which of them a chain comes
    read = [] if alike else folders
    return {
        "base of base": _cell(read, one, one) or _own(base_own) or _missing(one, one),
        "base of trained": _cell(read, one, other) or (_own(trained_own) if alike else None) or _missing(one, other),
        "trained of trained": _cell(read, other, other) or _own(trained_own) or _missing(other, other),
        "base of expert": _cell(folders, one, None) or _missing(one, None),
    }


def lift_by_rank(base: Model, trained: Model, folders: Sequence[Path]) -> dict[str, Any]:
    """Return how much likelier training makes the base's right samples: the likely ones, and the unlikely ones.

    A problem's right samples, different texts only, are ordered by their log-probability under the base and cut into
    halves; the middle one of an odd number is left out. The lift is log pi_trained - log pi_base of the chain, in nats.
    A positive difference, unlikely minus likely, speaks against the rank bias of arXiv 2506.02355.

    Args:
        base: the model that wrote the samples.
        trained: the model after training.
        folders: candidates with likelihoods; the first one with samples of the base scored under both is read.
    """
    for path in folders:
        if halves := _halves(RunFolder(path), base, trained):
            likely, unlikely = (np.array(values) for values in zip(*halves, strict=True))
            found = {"likely": mean(likely), "unlikely": mean(unlikely), "difference": mean(unlikely - likely)}
            return {**found, "n_problems": len(halves), "reason": None}
    reason = (
        f"no folder given with --likelihoods holds two different right samples of one problem by {base['name']} scored "
        f"under {base['name']} and {trained['name']}"
    )
    return {"likely": None, "unlikely": None, "difference": None, "n_problems": 0, "reason": reason}


def _halves(run: RunFolder, base: Model, trained: Model) -> list[tuple[float, float]]:
    """Return for each problem with two right samples or more the mean lift of the likely and the unlikely half."""
    if _same(str(base["name"]), base.get("weights_digest"), trained):
        return []
    before, after = (_likelihoods(run, model, lambda row: row.sum_logprob) for model in (base, trained))
    chains: dict[str, dict[str, tuple[float, float]]] = {}
    for row in run.candidates():
        key = row.problem_id, row.candidate_id
        if row.source == "own_correct" and _by(row, base) and key in before and key in after:
            chains.setdefault(row.problem_id, {})[row.text] = (before[key], after[key] - before[key])
    halves = []
    for scored in chains.values():
        lifts = [lift for _, lift in sorted(scored.values(), reverse=True)]
        if half := len(lifts) // 2:
            halves.append((float(np.mean(lifts[:half])), float(np.mean(lifts[-half:]))))
    return halves


def _cell(folders: Sequence[Path], scorer: Model, writer: Model | None) -> dict[str, Any] | None:
    """Read what the scorer thinks of the writer's own samples; of expert chains for None."""
    for path in folders:
        run = RunFolder(path)
        run.read_manifest()
        scored = _likelihoods(run, scorer, lambda row: row.perplexity)
        wanted = [(row.problem_id, row.candidate_id) for row in run.candidates() if _by(row, writer)]
        if found := [scored[key] for key in wanted if key in scored]:
            return _quartiles(np.array(found))
    return None


def _own(scores: Scores | None) -> dict[str, Any] | None:
    return None if scores is None or not scores.known.any() else _quartiles(scores.perplexities)


def _quartiles(values: Floats) -> dict[str, Any]:
    low, middle, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    return {"median": middle, "quartiles": [low, high], "n": len(values), "reason": None}


def _missing(scorer: Model, writer: Model | None) -> dict[str, Any]:
    written = "expert chains" if writer is None else f"own samples of {writer['name']}"
    reason = f"no folder given with --likelihoods holds {written} scored under {scorer['name']}"
    return {"median": None, "quartiles": None, "n": 0, "reason": reason}


def _likelihoods(run: RunFolder, model: Model, number: Callable[[Any], float]) -> dict[tuple[str, str], float]:
    for policy in run.policies():
        digest = (run.scored_model(policy) or {}).get("weights_digest")
        if _same(policy, digest, model):
            return {(row.problem_id, row.candidate_id): number(row) for row in run.likelihoods(policy)}
    return {}


def _by(row: Candidate, writer: Model | None) -> bool:
    if writer is None:
        return row.source == "expert"
    return row.source in OWN and row.policy is not None and _same(row.policy, None, writer)


def _same(name: str, digest: str | None, model: Model) -> bool:
    """Tell whether a policy is this model: by its weights where both are known, else by name or folder."""
    known = model.get("weights_digest")
    if digest and known:
        return bool(digest == known)
    other = str(model["name"])
    return name == other or (Path(name).is_dir() and Path(name).resolve() == Path(other).resolve())
