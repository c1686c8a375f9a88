"""Four perplexities (arXiv 2504.13837): who finds whose chains likely."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expo_bench.rows import Candidate
from expo_bench.store import RunFolder

OWN = ("own_correct", "own_incorrect")


def perplexities(base: Path, trained: Path, folders: Sequence[Path]) -> dict[str, Any]:
    """Return the quartiles of PPL_scorer(text) = exp(-mean log P per token) over chains, for four pairs.

    Args:
        base: run of the base.
        trained: run of the trained model.
        folders: candidates with likelihoods; each cell takes the first folder that has it.

    Returns:
        For each pair its quartiles and number of chains, or null with the reason.
    """
    one, other = (str(RunFolder(path).read_manifest().model["name"]) for path in (base, trained))
    wanted = {
        "base of base": (one, one),
        "base of trained": (one, other),
        "trained of trained": (other, other),
        "base of expert": (one, None),
    }
    return {name: _cell(folders, scorer, writer) for name, (scorer, writer) in wanted.items()}


def _cell(folders: Sequence[Path], scorer: str, writer: str | None) -> dict[str, Any]:
    """Read what the scorer thinks of the writer's own samples; of expert chains for None."""
    for path in folders:
        run = RunFolder(path)
        run.read_manifest()
        wanted = {(row.problem_id, row.candidate_id) for row in run.candidates() if _by(row, writer)}
        found = [row.perplexity for row in run.likelihoods(scorer) if (row.problem_id, row.candidate_id) in wanted]
        if found:
            low, middle, high = (float(value) for value in np.quantile(found, [0.25, 0.5, 0.75]))
            if math.isfinite(high):
                return {"median": middle, "quartiles": [low, high], "n": len(found), "reason": None}
    written = "expert chains" if writer is None else f"own samples of {writer}"
    return {
        "median": None,
        "quartiles": None,
        "n": 0,
        "reason": f"no folder given with --likelihoods holds {written} scored under {scorer}",
    }


def _by(row: Candidate, writer: str | None) -> bool:
    return row.source == "expert" if writer is None else row.source in OWN and row.policy == writer
