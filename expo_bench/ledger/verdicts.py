"""The sentence that a ledger's numbers carry."""

from collections.abc import Mapping, Sequence
from typing import Any

from expo_bench.ledger.contents import ZERO_SET_SAMPLES
from expo_bench.ledger.exchange import holm

LEVEL = 0.05
CLAIMS = ("new", "lost", "pass_1", "agreement")
"""What a comparison may claim; their p values are one family together with those of the other comparisons."""
# a model that solves less than this share of what the base solved broke, however sure it is of its answers
_BROKEN = 0.5


def claims(numbers: dict[str, Any]) -> dict[str, float]:
    """Return the p value of each claim; the exchange test that decides was chosen by n alone."""
    null, tests = numbers["null"], numbers["tests"]
    exchange = null["weighted"] if null["decides"] == "weighted" else null
    ps = (exchange["p_trained_only"], exchange["p_base_only"], tests["pass_1"]["p"], tests["agreement"]["p"])
    return dict(zip(CLAIMS, ps, strict=True))


def adjust(sections: Sequence[dict[str, Any]]) -> None:
    """Write `holm`, the p values that hold for a whole family, into every subset of the sections (Holm 1979).

    A family is all claims of all comparisons of one kind: over all problems, or over one kind of subset (levels,
    guessable or not).
    """
    families: dict[tuple[bool, str], dict[tuple[int, str, str], float]] = {}
    for place, section in enumerate(sections):
        control = section["role"] == "trained against control"
        for name, numbers in section["subsets"].items():
            kind = (control, name.split(",")[-1].partition("=")[0])
            own = {(place, name, claim): p for claim, p in claims(numbers).items()}
            families.setdefault(kind, {}).update(own)
    for family in families.values():
        for (place, name, claim), p in holm(family).items():
            sections[place]["subsets"][name].setdefault("holm", {"family": len(family)})[claim] = p


def verdict(numbers: dict[str, Any], *, base: str, trained: str) -> dict[str, Any]:
    """Say which of the two happened, from the numbers over all problems, at 5% for the whole family.

    `kind` is "new problems", "new problems, others lost", "sharpening", "sharpening, problems lost", "collapse",
    "problems lost", "no difference shown", or "nothing concluded" from one sample a problem. docs/sharpening.md says
    which test decides what.
    """
    if numbers["budget"]["smallest"] < 2:
        return _nothing(numbers, base, trained)
    kind = _kind(numbers["holm"], [numbers])
    return {"kind": kind, "sentence": _sentence(numbers, kind, base, trained), "caveats": _caveats(numbers)}


def _kind(ps: Mapping[str, float], seen: Sequence[dict[str, Any]]) -> str:
    """Return the verdict that these p values carry, over the numbers of one comparison or of several that agree."""
    new, lost = ps["new"] <= LEVEL, ps["lost"] <= LEVEL
    sharper = any(ps[name] <= LEVEL and _direction(seen, name) > 0 for name in ("pass_1", "agreement"))
    if new:
        return "new problems, others lost" if lost else "new problems"
    if ps["pass_1"] <= LEVEL and _direction(seen, "pass_1") < 0 and (not sharper or _left(seen) < _BROKEN):
        return "collapse"
    if sharper:
        return "sharpening, problems lost" if lost else "sharpening"
    return "problems lost" if lost else "no difference shown"


def _direction(seen: Sequence[dict[str, Any]], test: str) -> int:
    """Return 1 where the difference is positive in every comparison, -1 where it is negative, 0 where they disagree."""
    signs = {(one["tests"][test]["difference"] > 0) - (one["tests"][test]["difference"] < 0) for one in seen}
    return signs.pop() if len(signs) == 1 else 0


def _left(seen: Sequence[dict[str, Any]]) -> float:
    """Return the share of the base's pass@1 that is left, the greatest of the comparisons."""
    curves = [one["pass_at_k"] for one in seen]
    return max(float(curve["trained"]["value"][0] / curve["base"]["value"][0]) for curve in curves)


def over_seeds(arms: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, str | None]:
    """Return what every seed of a method shows, an arm each; None where it has one seed, which says nothing of others.

    That a claim holds in every seed has the greatest of their p values (Berger 1982), 1 where their differences have
    both signs; these p hold for one family, the claims of all arms of several seeds (Holm).

    Args:
        arms: the numbers over all problems of each seed's comparison.
    """
    several = {arm: seen for arm, seen in arms.items() if len(seen) > 1}
    told = {arm: seen for arm, seen in several.items() if min(one["budget"]["smallest"] for one in seen) > 1}
    ps = {
        (arm, claim): 1.0 if claim in ("pass_1", "agreement") and not _direction(seen, claim)
        else max(claims(one)[claim] for one in seen)
        for arm, seen in told.items()
        for claim in CLAIMS
    }  # fmt: skip
    adjusted = holm(ps)
    kinds = {arm: _kind({claim: adjusted[arm, claim] for claim in CLAIMS}, seen) for arm, seen in told.items()}
    return {arm: kinds.get(arm, "nothing concluded" if arm in several else None) for arm in arms}


def _nothing(numbers: dict[str, Any], base: str, trained: str) -> dict[str, Any]:
    test = numbers["tests"]["pass_1"]
    before, after = (numbers["pass_at_k"][side]["value"][0] for side in ("base", "trained"))
    sentence = (
        f"{trained} against {base}: nothing concluded. One sample of a problem, greedy or not, cannot tell a problem "
        "that became solvable from one that was solved by luck, nor whether samples agree: draw several of each at a "
        f"temperature above 0. pass@1 went from {before:.1%} to {after:.1%} "
        f"({_p(test['p'])} for problems like these)."
    )
    return {"kind": "nothing concluded", "sentence": sentence, "caveats": []}


def _sentence(numbers: dict[str, Any], kind: str, base: str, trained: str) -> str:
    cells, null, curve = numbers["cells"], numbers["null"], numbers["pass_at_k"]
    unsolved = cells["trained_only"] + cells["neither"]
    ps, agreement = numbers["holm"], numbers["stability"]["agreement"]
    budget = _budget(numbers)
    expected = f"{null['expected']:.1f}"
    first, last = (f"{curve['base']['value'][at]:.1%} to {curve['trained']['value'][at]:.1%}" for at in (0, -1))
    told = {"sharpening": "sharpening, no new problems beyond chance"}.get(kind, kind)
    return (
        f"{trained} against {base}: {told}. It solved {cells['trained_only']} of {unsolved} problems that {base} never "
        f"solved in {budget} samples (expected by chance: {expected}, {_p(ps['new'])}) and lost "
        f"{cells['base_only']} (expected: {expected}, {_p(ps['lost'])}); pass@1 went from {first} "
        f"({_p(ps['pass_1'])}), pass@{curve['k'][-1]} from {last}, and the chance that two samples agree from "
        f"{agreement['base']['value']:.1%} to {agreement['trained']['value']:.1%} ({_p(ps['agreement'])}). "
        f"p for the family of {ps['family']} tests (Holm)."
    )


def _caveats(numbers: dict[str, Any]) -> list[str]:
    found = []
    smallest = numbers["budget"]["smallest"]
    if smallest < ZERO_SET_SAMPLES:
        missed = (1 - 1 / smallest) ** smallest
        found.append(
            f"{smallest} samples are fewer than {ZERO_SET_SAMPLES}: a problem that the base solves once in {smallest} "
            f"samples goes unsolved in {missed:.0%} of such draws, so a model that only makes it likelier seems to "
            "solve a new one"
        )
    if numbers["holm"]["new"] <= LEVEL:
        found.append(
            "chance is ruled out, not that the base solves these problems rarely: --confirm draws fresh samples of the "
            "base on them"
        )
    return found


def confirmed(verdict: dict[str, Any], found: dict[str, Any], *, base: str) -> dict[str, Any]:
    """Return the verdict with what fresh samples of the base said of the new problems; its kind follows them.

    "new problems" becomes "new", "rare before", or "not decided" with the samples that would. Where the verdict saw no
    new problems beyond chance it stays: rates below the confirmed one bring some by luck, under one policy too.
    """
    answer, p, kind = found["answer"], found["p"], verdict["kind"]
    tried, unsolved, samples = found["problems"], found["unsolved"], found["samples"]
    counted = f"{base} solved {tried - unsolved} of these {tried} problems in {samples} fresh samples each"
    rate = f"1 in {1 / found['rate']:.0f}"
    told = {
        "new": f"{counted}; that it solves each of them at {rate} or more is ruled out ({_p(p)}).",
        "rare before": f"{counted}.",
        "not decided": (
            f"{counted} ({_p(p)} for a rate of {rate} or more). {found['more_samples']} more samples of each would "
            "decide it if the others stay unsolved."
        ),
        "nothing to confirm": "it solved no problem that the base did not.",
    }[answer]
    if kind.startswith("new problems"):
        words = {"not decided": f"not decided, {found['more_samples']} more samples of each would"}
        kind = kind.replace("new problems", words.get(answer, answer))
        told = f"{answer}: {told}"
    elif answer == "new":
        told += " But chance alone may have brought as many problems that only the trained model solved."
    caveats = [one for one in verdict["caveats"] if "--confirm" not in one]
    sentence = verdict["sentence"].replace(f": {verdict['kind']}. ", f": {kind}. ", 1)
    return {
        **verdict,
        "kind": kind,
        "confirmed": answer,
        "sentence": f"{sentence} Confirmation: {told}",
        "caveats": caveats,
    }


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
    cells, null, pass_1, ps = numbers["cells"], numbers["null"], numbers["tests"]["pass_1"], numbers["holm"]
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
        f"{_budget(numbers)} samples (expected by chance: {null['expected']:.1f}, {_p(ps['new'])}), "
        f"pass@1 {pass_1['difference']:+.1%} ({_p(ps['pass_1'])}): {control} "
        f"{'does' if suffices else 'does not do'} what training did."
    )
    return {"new_problems": new, "better_pass_1": better, "control_suffices": suffices, "sentence": sentence}


def _new(numbers: dict[str, Any]) -> bool:
    return bool(numbers["holm"]["new"] <= LEVEL)


def _better(numbers: dict[str, Any]) -> bool:
    return bool(numbers["holm"]["pass_1"] <= LEVEL and numbers["tests"]["pass_1"]["difference"] > 0)


def _budget(numbers: dict[str, Any]) -> str:
    budget = numbers["budget"]
    few, many = budget["smallest"], budget["largest"]
    return str(few) if few == many else f"{few} to {many}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
