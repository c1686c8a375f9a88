"""What a policy thinks of its own samples: their log-probabilities, and the entropy that these tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expo_bench import stats
from expo_bench.ledger.outcomes import Outcomes, read_columns
from expo_bench.stats import Bools, Floats
from expo_bench.storage.run_folder import RunFolder

NOT_READ = "asked for with --rank-bias, since it reads every sample"
# a chain that the policy holds for impossible; JSON has no infinity
_MOST_EXPONENT = 700.0
_FIELDS = {"problem_id": "string", "sample_index": "int32", "sum_logprob": "float64", "n_tokens": "float64"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Of the T samples of an `Outcomes`, in its order; NaN where the run does not tell."""

    sum_logprob: Floats
    """In nats, at temperature 1, shape (T,)."""
    n_tokens: Floats
    """Shape (T,)."""

    @property
    def known(self) -> Bools:
        """Samples with both numbers and a token at least, shape (T,)."""
        return np.asarray(np.isfinite(self.sum_logprob) & (self.n_tokens > 0))

    @property
    def perplexities(self) -> Floats:
        """exp(-log-probability per token) of the samples that have both numbers."""
        known = self.known
        return np.asarray(np.exp(np.minimum(-self.sum_logprob[known] / self.n_tokens[known], _MOST_EXPONENT)))


def read_scores(path: Path, run: Outcomes) -> Scores | None:
    """Read the log-probability and the length of each sample of a run; None where samples carry none."""
    folder = RunFolder(path)
    first = next(folder.samples(), None)
    if first is None or first.sum_logprob is None:
        return None
    table = read_columns(folder.samples_path, _FIELDS)
    place = {problem_id: at for at, problem_id in enumerate(run.problems)}
    names, inverse = np.unique(np.asarray(table.column("problem_id").to_numpy(), dtype=np.str_), return_inverse=True)
    places = np.array([place.get(str(name), -1) for name in names])[inverse]
    kept = places >= 0
    keys = places[kept].astype(np.int64) << 32 | table.column("sample_index").to_numpy()[kept]
    order = np.argsort(keys)
    found = order[np.searchsorted(keys[order], run.place.astype(np.int64) << 32 | run.index)]
    sums, lengths = (
        np.asarray(table.column(name).to_numpy(), dtype=np.float64)[kept][found] for name in ("sum_logprob", "n_tokens")
    )
    return Scores(sum_logprob=sums, n_tokens=lengths)


def entropy(run: Outcomes, scores: Scores | None, *, wanted: bool) -> dict[str, Any]:
    """Return the policy's entropy per token on its own samples: -sum of log pi(sample) / sum of tokens.

    E[-log pi(Y)] over the policy's own samples is the entropy of what it samples from, so both sums are without bias.
    Log-probabilities are at temperature 1: of samples at another temperature, or of a truncated distribution, they
    tell no entropy.

    Returns:
        Value in nats and its standard error over problems, or null with the reason.
    """
    if not wanted:
        return _untold(NOT_READ)
    protocol = run.manifest.protocol
    asked = {name: protocol.get(name, 1.0) for name in ("temperature", "top_p")}
    if other := [f"{name} {value}" for name, value in asked.items() if value != 1]:
        return _untold(f"sampled at {' and '.join(other)}, while log-probabilities are at temperature 1")
    if scores is None or not scores.known.any():
        return _untold("its samples carry no log-probability")
    used, problems = scores.known, len(run.problems)
    surprise, tokens = (
        np.bincount(run.place[used], weights=column[used], minlength=problems).astype(np.float64)
        for column in (-scores.sum_logprob, scores.n_tokens)
    )
    value, error = stats.clustered_mean(surprise / np.maximum(tokens, 1), tokens)
    return {"value": float(value), "stderr": float(error) if np.isfinite(error) else None, "reason": None}


def _untold(reason: str) -> dict[str, Any]:
    return {"value": None, "stderr": None, "reason": reason}
