"""Each arm of a study against the base: sharpening, or new problems?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from expo_bench.errors import UserError
from expo_bench.ledger.compare import Ledger, Request, compare
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
    return _joined(ledgers, notes) if ledgers else None


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
