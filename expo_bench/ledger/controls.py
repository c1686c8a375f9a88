"""What training is held against: the base with less entropy, and the base that only guesses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from expo_bench.errors import UserError
from expo_bench.ledger.outcomes import Outcomes
from expo_bench.stats import Bools

CONTROL_MAY_DIFFER = frozenset({"temperature"})
GUESS_MUST_SHARE = frozenset({"grader"})


def match_entropy(trained: str, controls: Sequence[str], runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Choose the control whose entropy per token is nearest to the trained model's; nothing is interpolated.

    Args:
        trained: name of the trained model.
        controls: names of the controls.
        runs: name -> what the ledger says of the run, with its `entropy`.

    Returns:
        The control, its distance (its entropy minus the trained model's, in nats per token), what was to choose from,
        and a sentence; null with the reason where nothing can be told.
    """
    wanted = runs[trained]["entropy"]
    known = {name: runs[name]["entropy"]["value"] for name in controls if runs[name]["entropy"]["value"] is not None}
    found = {"control": None, "distance": None, "trained": wanted["value"], "controls": known}
    if wanted["value"] is None:
        return {**found, "sentence": None, "reason": f"{trained}: {wanted['reason']}"}
    if not known:
        reasons = [f"{name}: {runs[name]['entropy']['reason']}" for name in controls]
        return {**found, "sentence": None, "reason": "; ".join(reasons) or "no control is given"}
    nearest = min(known, key=lambda name: abs(known[name] - wanted["value"]))
    distance = known[nearest] - wanted["value"]
    sentence = (
        f"{nearest} is the control nearest in entropy to {trained}: {known[nearest]:.4f} against {wanted['value']:.4f} "
        f"nats per token (distance {distance:+.4f}; known of {len(known)} of {len(controls)} controls)."
    )
    return {**found, "control": nearest, "distance": distance, "sentence": sentence, "reason": None}


def beside(sections: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each trained model and control whether the control does what training did, and how near they are."""
    matched = {one["trained"]: one["matched_entropy"] for one in sections if one["role"] == "trained"}
    found = []
    for section in sections:
        if section["role"] != "trained against control":
            continue
        entropies, control = matched[section["trained"]], section["base"]
        known, wanted = entropies["controls"].get(control), entropies["trained"]
        found.append(
            {
                "trained": section["trained"],
                "control": control,
                "does_what_training_did": section["verdict"]["control_suffices"],
                "entropy_distance": None if known is None or wanted is None else known - wanted,
                "nearest_in_entropy": entropies["control"] == control,
            }
        )
    return found


def guessed(guess: Outcomes, base: Outcomes) -> Bools:
    """Tell which problems the base solves at least once without a chain of thought, shape (P,).

    Raises:
        UserError: the run is not one of the base.
    """
    one, other = (run.manifest.model.get("weights_digest") or run.manifest.model["name"] for run in (guess, base))
    if one != other:
        raise UserError(
            f"{guess.name} is a run of {guess.manifest.model['name']}: --guess takes a run of the base "
            f"({base.manifest.model['name']})"
        )
    return np.asarray(guess.solved(guess.n) > 0)


def guess_subsets(guessable: Bools) -> dict[str, Any]:
    """Return the places of the problems that can be guessed, and of the others, as a ledger's subsets."""
    subsets = {"guessable=yes": np.flatnonzero(guessable), "guessable=no": np.flatnonzero(~guessable)}
    return {name: places for name, places in subsets.items() if len(places)}
