"""The printed tables of `analysis.theory`."""

from collections.abc import Iterator
from typing import Any

_GAINS = (
    "hit", "own_f", "posterior_gain", "jackknife_gain", "measured_gain", "posterior_gap", "coverage", "enumerated_j",
    "enumerated_gain",
    "enumerated_measured_gain", "enumerated_gap", "log_posterior_gain", "log_measured_gain", "log_enumerated_gain",
    "log_enumerated_measured_gain", "log_enumerated_gap",
)  # fmt: skip


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines: gains, correlations with log pi, medians by source, bins of pi, cosines."""
    yield from _gains(result["posterior"])
    yield from _correlations(result["correlations"])
    yield from _medians(result["sources"])
    yield from _bins(result["likelihood_bins"])
    yield from _cosines(result["cosines"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return _number(value) if low is None else f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _gains(rows: list[dict[str, Any]]) -> Iterator[str]:
    subsets = list(dict.fromkeys(row["subset"] for row in rows))
    for subset in subsets if len(subsets) > 2 else subsets[-1:]:
        found = {row["name"]: row for row in rows if row["subset"] == subset}
        any_row = found["own_f"]
        yield f"posterior gap, {subset}: {any_row['n_problems']} problems, K = {any_row['k_min']} to {any_row['k_max']}"
        for name in _GAINS:
            row = found[name]
            yield f"  {name:30}{_with_interval(row['value'], row['ci_low'], row['ci_high'])}"


def _correlations(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "\nSpearman's correlation with log pi(c,a|q)"
    found = {(row["quantity"], row["source"]): row for row in rows}
    for source in dict.fromkeys(row["source"] for row in rows):
        yield f"  {source} ({found['norm', source]['n_chains']} chains)"
        for quantity in dict.fromkeys(row["quantity"] for row in rows):
            row = found[quantity, source]
            yield f"    {quantity:20}{_with_interval(row['spearman'], row['ci_low'], row['ci_high'])}"


def _medians(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "\nmedians by source"
    for row in rows:
        medians = "  ".join(f"{name} {_number(value)}" for name, value in row["median"].items())
        yield f"  {row['source']} ({row['n_chains']} chains): {medians}"
        cosine = _with_interval(row["mean_cosine"], *row["mean_cosine_ci"])
        yield f"    mean cosine {cosine}, share with <grad J, g> > 0: {row['positive_alignment']:.2f}"


def _bins(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "\nwhere the chains stand, by pi(c,a|q): medians"
    for row in (one for one in rows if one["n_chains"]):
        medians = "  ".join(f"{key.removeprefix('median_')} {_number(row[key])}" for key in row if "median" in key)
        sources = ", ".join(f"{source} {count}" for source, count in row["sources"].items())
        yield f"  {row['p_from']:g} to {row['p_to']:g}: {medians}  ({sources})"


def _cosines(found: dict[str, Any]) -> Iterator[str]:
    chance = found["null"]["quantiles"]["0.975"]
    yield f"\ncosines of {found['n_gradients']} gradients; 95% of random directions are within {chance:.4f}"
    for row in found["classes"]:
        quantiles = " ".join(f"{value:.3f}" for value in row["quantiles"].values())
        mean = _with_interval(row["mean"], *row["mean_ci"])
        yield f"  {row['pairs']}: mean {mean}, quantiles 5 to 95% {quantiles}, beyond {row['share_beyond_chance']:.2f}"
