"""The sentence that a ledger's numbers carry."""

from typing import Any

from expo_bench.ledger.contents import ZERO_SET_SAMPLES

LEVEL = 0.05
# two tests can each call a model sharper: half the level for each
_SHARPER = LEVEL / 2


def verdict(numbers: dict[str, Any], *, base: str, trained: str) -> dict[str, Any]:
    """Say which of the two happened, from the numbers over all problems.

    `kind` is "new problems", "new problems, others lost", "sharpening", "sharpening, problems lost", "problems lost",
    or "no difference shown". docs/sharpening.md says which test decides what.
    """
    null, tests = numbers["null"], numbers["tests"]
    new, lost = null["p_trained_only"] <= LEVEL, null["p_base_only"] <= LEVEL
    sharper = any(tests[name]["p"] <= _SHARPER and tests[name]["difference"] > 0 for name in ("pass_1", "agreement"))
    if new:
        kind = "new problems, others lost" if lost else "new problems"
    elif sharper:
        kind = "sharpening, problems lost" if lost else "sharpening"
    else:
        kind = "problems lost" if lost else "no difference shown"
    return {"kind": kind, "sentence": _sentence(numbers, kind, base, trained), "caveats": _caveats(numbers)}


def _sentence(numbers: dict[str, Any], kind: str, base: str, trained: str) -> str:
    cells, null, curve = numbers["cells"], numbers["null"], numbers["pass_at_k"]
    unsolved = cells["trained_only"] + cells["neither"]
    tests, agreement = numbers["tests"], numbers["stability"]["agreement"]
    budget = _budget(numbers)
    expected = f"{null['expected']:.1f}"
    first, last = (f"{curve['base']['value'][at]:.1%} to {curve['trained']['value'][at]:.1%}" for at in (0, -1))
    told = {"sharpening": "sharpening, no new problems beyond chance"}.get(kind, kind)
    return (
        f"{trained} against {base}: {told}. It solved {cells['trained_only']} of {unsolved} problems that {base} never "
        f"solved in {budget} samples (expected by chance: {expected}, {_p(null['p_trained_only'])}) and lost "
        f"{cells['base_only']} (expected: {expected}, {_p(null['p_base_only'])}); pass@1 went from {first} "
        f"({_p(tests['pass_1']['p'])}), pass@{curve['k'][-1]} from {last}, and the chance that two samples agree from "
        f"{agreement['base']['value']:.1%} to {agreement['trained']['value']:.1%} ({_p(tests['agreement']['p'])})."
    )


def _caveats(numbers: dict[str, Any]) -> list[str]:
    smallest = numbers["budget"]["smallest"]
    if smallest >= ZERO_SET_SAMPLES:
        return []
    missed = (1 - 1 / smallest) ** smallest
    return [
        f"{smallest} samples are fewer than {ZERO_SET_SAMPLES}: a problem that the base solves once in {smallest} "
        f"samples goes unsolved in {missed:.0%} of such draws, so a model that only makes it likelier seems to solve "
        "a new one"
    ]


def beats_control(
    numbers: dict[str, Any], against_base: dict[str, Any], *, control: str, trained: str
) -> dict[str, Any]:
    """Say whether the trained model does more than the control, and whether the control does what training did.

    Beating the control alone is not enough: where a lower temperature loses problems, the untrained base beats it too.
    The control does what training did where the trained model beats it in nothing, neither in new problems nor in
    pass@1.

    Args:
        numbers: of the trained model against the control.
        against_base: of the trained model against the base.
        control: name of the control.
        trained: name of the trained model.
    """
    cells, null, pass_1 = numbers["cells"], numbers["null"], numbers["tests"]["pass_1"]
    new = _new(numbers) and _new(against_base)
    better = _better(numbers) and _better(against_base)
    told = {
        (True, True): "beats base and control in new problems and in pass@1",
        (True, False): "beats base and control in new problems, not in pass@1",
        (False, True): "beats base and control in pass@1, not in new problems",
        (False, False): "does not beat both base and control",
    }[new, better]
    suffices = not _new(numbers) and not _better(numbers)
    sentence = (
        f"{trained} {told}. Against {control}: {cells['trained_only']} problems that it never solved in "
        f"{_budget(numbers)} samples (expected by chance: {null['expected']:.1f}, {_p(null['p_trained_only'])}), "
        f"pass@1 {pass_1['difference']:+.1%} ({_p(pass_1['p'])}): {control} "
        f"{'does' if suffices else 'does not do'} what training did."
    )
    return {"new_problems": new, "better_pass_1": better, "control_suffices": suffices, "sentence": sentence}


def _new(numbers: dict[str, Any]) -> bool:
    return bool(numbers["null"]["p_trained_only"] <= LEVEL)


def _better(numbers: dict[str, Any]) -> bool:
    test = numbers["tests"]["pass_1"]
    return bool(test["p"] <= LEVEL and test["difference"] > 0)


def _budget(numbers: dict[str, Any]) -> str:
    budget = numbers["budget"]
    few, many = budget["smallest"], budget["largest"]
    return str(few) if few == many else f"{few} to {many}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
