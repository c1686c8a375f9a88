"""Each arm of a study against the base: sharpening, or new problems?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from expo_bench import intervals
from expo_bench.errors import UserError, span
from expo_bench.ledger.compare import Ledger, Request, compare
from expo_bench.studies.learning_curves import right_counts
from expo_bench.studies.study import Run


def study_ledger(runs: Sequence[Run]) -> Ledger | None:
    """Compare the last checkpoint of every arm's first seed with the base; None where nothing could be compared.

    Arms that were evaluated like the first one share its base. An arm with another base, protocol or set of problems is
    compared with its own evaluation before training. `notes` names these arms, and those that are left out with the
    reason: by then everything is trained, so no arm may keep the others from their result.
    """
    notes: list[str] = []
    groups: dict[Any, dict[str, Run]] = {}
    for arm, run in _firsts(runs, notes).items():
        groups.setdefault(_kind(run), {})[arm] = run
    ledgers: list[Ledger] = []
    for arms in groups.values():
        first = next(iter(arms))
        base = f"the base of {first}" if ledgers else "the base"
        if ledger := _compare(arms, base, notes):
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
    return Ledger(content={**joined.content, "methods": method_changes(runs)}, rows=joined.rows)


def method_changes(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what each arm's training changed in pass@1, over all its seeds: that alone speaks of the method.

    A verdict is about one checkpoint. Runs differ by their seed more than two sets of samples do, so a claim about the
    method takes seeds as drawn at random, too (`intervals.crossed`).
    """
    arms: dict[str, list[Run]] = {}
    for run in runs:
        last = max(run.folder.checkpoints(), default=0)
        if last and all(run.folder.evaluation(step).manifest_path.is_file() for step in (0, last)):
            arms.setdefault(run.arm, []).append(run)
    return [found for arm, listed in arms.items() if (found := _method_change(arm, listed))]


def _method_change(arm: str, runs: Sequence[Run]) -> dict[str, Any] | None:
    steps = [(run, step) for run in runs for step in (0, max(run.folder.checkpoints()))]
    try:
        counted = [right_counts(run.folder.evaluation(step)) for run, step in steps]
    except UserError:
        # the comparison names the run that cannot be read
        return None
    shared = [one for one in counted[0] if all(one in counts for counts in counted)]
    if not shared:
        return None
    rates = np.array([[counts[one][1] / counts[one][0] for one in shared] for counts in counted])
    change = rates[1::2] - rates[::2]
    low, high = (None if np.isnan(end) else end for end in intervals.crossed(change, -1.0))
    seeds, value = len(runs), float(change.mean())
    reach = "" if low is None else f" ({span(low, high, sign='+')})"
    target = (
        f"{seeds} seeds, for problems and seeds like these"
        if seeds > 1
        else ("one seed, for problems like these: it speaks of this checkpoint, not of the method")
    )
    sentence = f"{arm}: pass@1 {100 * value:+.1f} points{reach} over {len(shared)} problems ({target})"
    return {
        "arm": arm, "seeds": seeds, "n_problems": len(shared), "value": value, "low": low, "high": high,
        "per_seed": change.mean(axis=1).tolist(), "sentence": sentence,
    }  # fmt: skip


def _firsts(runs: Iterable[Run], notes: list[str]) -> dict[str, Run]:
    """Return each arm's first run whose last checkpoint was evaluated."""
    found: dict[str, Run] = {}
    arms: dict[str, None] = {}
    for run in runs:
        arms[run.arm] = None
        last = max(run.folder.checkpoints(), default=0)
        if last and all(run.folder.evaluation(step).manifest_path.is_file() for step in (0, last)):
            found.setdefault(run.arm, run)
    missing = [arm for arm in arms if arm not in found]
    notes += [f"{arm} is left out: its base or its last checkpoint was not evaluated" for arm in missing]
    return found


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
