"""Each arm of a study against the base: sharpening, or new problems?"""

from collections.abc import Sequence

from expo_bench.compare import Ledger, Request, compare
from expo_bench.studies import Run


def study_ledger(runs: Sequence[Run]) -> Ledger | None:
    """Compare the last checkpoint of every arm's first seed with the base; None where nothing was evaluated.

    Raises:
        UserError: the arms were evaluated under different protocols.
    """
    firsts: dict[str, Run] = {}
    for run in runs:
        last = max(run.folder.checkpoints(), default=0)
        if last and run.folder.evaluation(last).manifest_path.is_file():
            firsts.setdefault(run.arm, run)
    if not firsts:
        return None
    base = next(iter(firsts.values())).folder.evaluation(0).path
    ends = {run.folder.evaluation(max(run.folder.checkpoints())).path: arm for arm, run in firsts.items()}
    return compare(Request(base=base, trained=tuple(ends), names={base: "the base", **ends}))
