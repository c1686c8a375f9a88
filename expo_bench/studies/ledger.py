"""Each arm of a study against the base: sharpening, or new problems?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from expo_bench import intervals
from expo_bench.errors import UserError, span
from expo_bench.ledger.compare import Ledger, Request, compare
from expo_bench.ledger.verdicts import over_seeds
from expo_bench.studies.learning_curves import right_counts
from expo_bench.studies.study import Run


def study_ledger(runs: Sequence[Run]) -> Ledger | None:
    """Compare the last checkpoint of every run, all seeds of all arms, with the base; None where nothing could be.

    A verdict is about one checkpoint; what is said of a method, in `methods`, takes all of its seeds.

    Runs that were evaluated like the first one share its base. Those with another base, protocol or set of problems are
    compared with their own evaluation before training. `notes` names these, and those that are left out with the
    reason: by then everything is trained, so no run may keep the others from their result.
    """
    notes: list[str] = []
    evaluated = _evaluated(runs, notes)
    groups: dict[Any, dict[str, Run]] = {}
    for name, run in evaluated.items():
        groups.setdefault(_kind(run), {})[name] = run
    ledgers: list[Ledger] = []
    for named in groups.values():
        first = next(iter(named))
        base = f"the base of {first}" if ledgers else "the base"
        if ledger := _compare(named, base, notes):
            if ledgers:
                listed = ", ".join(section["trained"] for section in ledger.content["comparisons"])
                notes.append(
                    f"{listed}: another policy, protocol or other problems than the first arm's, so the comparison is "
                    f"with the evaluation of {first} before training"
                )
            ledgers.append(ledger)
    if not ledgers:
        return None
    joined = _joined(ledgers, notes)
    for section in joined.content["comparisons"]:
        section["arm"] = evaluated[section["trained"]].arm
    return Ledger(
        content={**joined.content, "methods": _methods(evaluated, joined.content["comparisons"])}, rows=joined.rows
    )


def _methods(runs: Mapping[str, Run], sections: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what each arm's training changed, over all its seeds: that alone speaks of the method.

    Runs differ by their seed more than two sets of samples do. `verdict` is what every seed shows; the change of pass@1
    takes seeds as drawn at random, too (`intervals.crossed`).
    """
    arms: dict[str, list[Mapping[str, Any]]] = {}
    for section in sections:
        arms.setdefault(section["arm"], []).append(section)
    verdicts = over_seeds({arm: [one["subsets"]["all"] for one in own] for arm, own in arms.items()})
    found = []
    for arm, own in arms.items():
        if change := _change([runs[section["trained"]] for section in own]):
            sentence = _sentence(arm, change, verdicts[arm], [section["verdict"]["kind"] for section in own])
            found.append({"arm": arm, "verdict": verdicts[arm], **change, "sentence": sentence})
    return found


def _change(runs: Sequence[Run]) -> dict[str, Any] | None:
    steps = [(run, step) for run in runs for step in (0, max(run.folder.checkpoints()))]
    try:
        counted = [right_counts(run.folder.evaluation(step)) for run, step in steps]
    except UserError:
        # a run's own evaluation before training, where it was compared with another's
        return None
    shared = [one for one in counted[0] if all(one in counts for counts in counted)]
    if not shared:
        return None
    rates = np.array([[counts[one][1] / counts[one][0] for one in shared] for counts in counted])
    change = rates[1::2] - rates[::2]
    low, high = (None if np.isnan(end) else end for end in intervals.crossed(change, -1.0))
    return {
        "seeds": len(runs), "n_problems": len(shared), "value": float(change.mean()), "low": low, "high": high,
        "per_seed": change.mean(axis=1).tolist(),
    }  # fmt: skip


def _sentence(arm: str, change: Mapping[str, Any], kind: str | None, kinds: Sequence[str]) -> str:
    reach = span(change["low"], change["high"], sign="+")
    points = f"pass@1 {100 * change['value']:+.1f} points" + (f" ({reach})" if reach else "")
    problems, seeds = change["n_problems"], change["seeds"]
    if seeds == 1:
        return (
            f"{arm}: {points} over {problems} problems, one seed: this speaks of the checkpoint, for problems like "
            "these, and not of the method"
        )
    return (
        f"{arm}: {kind or 'nothing'} in every one of {seeds} seeds (by themselves: {', '.join(kinds)}); {points} over "
        f"{problems} problems, for problems and seeds like these"
    )


def _evaluated(runs: Sequence[Run], notes: list[str]) -> dict[str, Run]:
    """Return the runs whose base and last checkpoint were evaluated, by arm, and seed where an arm has several."""
    arms: dict[str, list[Run]] = {run.arm: [] for run in runs}
    for run in runs:
        last = max(run.folder.checkpoints(), default=0)
        if last and all(run.folder.evaluation(step).manifest_path.is_file() for step in (0, last)):
            arms[run.arm].append(run)
    for arm, there in arms.items():
        if gone := sum(run.arm == arm for run in runs) - len(there):
            what = arm if not there else f"{arm}, {gone} of {gone + len(there)} seeds,"
            notes.append(f"{what} is left out: its base or its last checkpoint was not evaluated")
    return {
        run.arm if len(there) == 1 else f"{run.arm}, seed {run.seed}": run for there in arms.values() for run in there
    }


def _kind(run: Run) -> tuple[str, str, frozenset[str]]:
    """Return what two arms must share to be compared with one base: the policy, the protocol, the problems."""
    end = run.folder.evaluation(max(run.folder.checkpoints()))
    model = run.folder.evaluation(0).read_manifest().model
    policy = str(model.get("weights_digest") or model["name"])
    return policy, end.read_manifest().protocol_hash, frozenset(problem.problem_id for problem in end.problems())


def _compare(arms: Mapping[str, Run], base: str, notes: list[str]) -> Ledger | None:
    """Compare these arms with the first one's base; an arm that cannot be compared gets a note."""
    start = next(iter(arms.values())).folder.evaluation(0).path
    ends = {run.folder.evaluation(max(run.folder.checkpoints())).path: arm for arm, run in arms.items()}
    try:
        return compare(Request(base=start, trained=tuple(ends), names={start: base, **ends}))
    except UserError as error:
        if len(arms) == 1:
            notes.append(f"{next(iter(arms))} is left out: {error}")
            return None
        kept = {arm: run for arm, run in arms.items() if _compare({arm: run}, base, notes)}
        if len(kept) < len(arms):
            return _compare(kept, base, notes) if kept else None
        notes.append(f"{', '.join(arms)} are left out: {error}")
        return None


def _joined(ledgers: Sequence[Ledger], notes: list[str]) -> Ledger:
    first, *others = (ledger.content for ledger in ledgers)
    rows = [row for ledger in ledgers for row in ledger.rows]
    content = {
        **first,
        "n_problems": len({row["problem_id"] for row in rows}),
        "runs": {name: run for one in (first, *others) for name, run in one["runs"].items()},
        "comparisons": [section for one in (first, *others) for section in one["comparisons"]],
        "notes": notes,
    }
    return Ledger(content=content, rows=rows)
