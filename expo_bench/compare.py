"""The stage from run folders to the sharpening ledger: did training make the policy surer, or solve new problems?

docs/sharpening.md defines every number.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np

from expo_bench import comparisons, stats
from expo_bench.answers import GRADER
from expo_bench.errors import UserError
from expo_bench.ledgers.contents import DRAWS, Pair, level_subsets, match, subset_numbers
from expo_bench.ledgers.outcomes import Outcomes, read_outcomes
from expo_bench.ledgers.perplexities import perplexities
from expo_bench.ledgers.rank_bias import rank_bias
from expo_bench.ledgers.verdicts import beats_control, verdict
from expo_bench.rows import Problem
from expo_bench.store import write_atomically

SCHEMA_VERSION = 1
CONTROL_MAY_DIFFER = frozenset({"temperature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is compared."""

    base: Path
    trained: tuple[Path, ...]
    controls: tuple[Path, ...] = ()
    """Runs of the base at another temperature."""
    grader: str = GRADER
    allow_different_protocol: bool = False
    likelihoods: tuple[Path, ...] = ()
    """Folders of candidates with likelihoods, for the perplexities."""
    with_rank_bias: bool = False
    """Read every sample for its log-probability."""
    names: Mapping[Path, str] | None = None
    """What the runs are called, where their folders' names do not say it."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The result: `content` goes to ledger.json, `rows` to ledger.parquet."""

    content: dict[str, Any]
    rows: list[dict[str, Any]]
    """One a problem and comparison."""


def compare(request: Request) -> Ledger:
    """Build the ledger of the base against each trained model and control; nothing is written.

    Raises:
        UserError: runs under different protocols, without common problems, or with samples that have no grade.
    """
    names = request.names or _names([request.base, *request.trained, *request.controls])
    runs = {path: read_outcomes(path, request.grader, name) for path, name in names.items()}
    differing = _check_protocols(request, runs)
    ids = _common(runs)
    matched = {path: run.only(ids) for path, run in runs.items()}
    problems = list(matched[request.base].problems.values())
    _check_answers(matched.values(), problems)
    counts = stats.resample_counts(len(problems), DRAWS, request.seed)
    subsets = level_subsets(problems)
    sections, rows = [], []
    against_base: dict[Path, dict[str, Any]] = {}
    for one, other, role in _contrasts(request):
        pair = match(matched[one], matched[other])
        section: dict[str, Any] = {"base": names[one], "trained": names[other], "role": role}
        section["subsets"] = {
            name: subset_numbers(pair.take(places), counts.take(places, axis=1), request.seed)
            for name, places in subsets.items()
        }
        over_all = section["subsets"]["all"]
        if role == "trained against control":
            section["verdict"] = beats_control(over_all, against_base[other], control=names[one], trained=names[other])
        else:
            against_base[other] = over_all
            section["verdict"] = verdict(over_all, base=names[one], trained=names[other])
            rows += _rows(pair, problems, section)
        section["perplexity"] = perplexities(one, other, request.likelihoods)
        section["rank_bias"] = rank_bias((one, matched[one]), (other, matched[other]), wanted=request.with_rank_bias)
        sections.append(section)
    content = {
        "schema_version": SCHEMA_VERSION,
        "grader": request.grader,
        "seed": request.seed,
        "bootstrap_draws": DRAWS,
        "n_problems": len(ids),
        "protocol_differs_in": differing,
        "runs": {run.name: _about(path, run, ids) for path, run in runs.items()},
        "comparisons": sections,
    }
    return Ledger(content=content, rows=rows)


def write(ledger: Ledger, folder: Path) -> None:
    """Write ledger.json and ledger.parquet into the folder, each atomically."""
    import pyarrow
    from pyarrow import parquet

    buffer = BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ledger.rows), buffer, compression="zstd")
    write_atomically(folder / "ledger.parquet", buffer.getvalue())
    write_atomically(folder / "ledger.json", json.dumps(ledger.content, indent=1, allow_nan=False))


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a short name for each run: its folder's; where several share that, the path from where they part."""
    full = [path.resolve() for path in paths]
    if len(set(full)) < len(full):
        raise UserError("a run is named twice: compare different run folders")
    names = {}
    for path, own in zip(paths, full, strict=True):
        alike = [other for other in full if other.name == own.name]
        names[path] = own.name if len(alike) == 1 else str(own.relative_to(commonpath(alike)))
    return names


def _contrasts(request: Request) -> Iterator[tuple[Path, Path, str]]:
    for path in request.trained:
        yield request.base, path, "trained"
    for control in request.controls:
        yield request.base, control, "control"
        for path in request.trained:
            yield control, path, "trained against control"


def _check_protocols(request: Request, runs: Mapping[Path, Outcomes]) -> dict[str, list[str]]:
    """Return the protocol keys in which each run differs from the base; refuse what is not allowed to differ."""
    base = runs[request.base].manifest
    found: dict[str, list[str]] = {}
    for path, run in runs.items():
        manifest = run.manifest
        keys = sorted(base.protocol.keys() | manifest.protocol.keys())
        differing = [key for key in keys if base.protocol.get(key) != manifest.protocol.get(key)]
        if not differing and manifest.protocol_hash == base.protocol_hash:
            continue
        found[run.name] = differing
        allowed = path in request.controls and set(differing) <= CONTROL_MAY_DIFFER
        if not allowed and not request.allow_different_protocol:
            what = ", ".join(f"{key} ({base.protocol.get(key)!r}, {manifest.protocol.get(key)!r})" for key in differing)
            raise UserError(
                f"{request.base} and {path} were run under different protocols: {what or 'their hashes differ'}; "
                "evaluate both alike, or compare them nevertheless with --allow-different-protocol"
            )
    return found


def _common(runs: Mapping[Path, Outcomes]) -> list[str]:
    first, *others = (run.problems for run in runs.values())
    ids = [problem_id for problem_id in first if all(problem_id in other for other in others)]
    if not ids:
        raise UserError(f"{', '.join(map(str, runs))} have no problem in common: evaluate them on the same benchmark")
    return ids


def _check_answers(runs: Any, problems: Sequence[Problem]) -> None:
    for run in runs:
        for problem, other in zip(problems, run.problems.values(), strict=True):
            if problem.answer != other.answer:
                raise UserError(f"problem {problem.problem_id} has another gold answer in {run.name}: not comparable")


def _about(path: Path, run: Outcomes, ids: Sequence[str]) -> dict[str, Any]:
    return {
        "path": str(path),
        "model": run.manifest.model,
        "protocol_hash": run.manifest.protocol_hash,
        "protocol": run.manifest.protocol,
        "finished": run.manifest.status == "finished",
        "samples_by_status": run.statuses,
        "samples_left_out": sum(run.statuses[name] for name in ("timeout", "error", "bad_gold")),
        "problems_left_out": {
            "too few samples that tell": run.untold_problems,
            "not in every run": len(run.problems) - len(ids),
        },
    }


def _rows(pair: Pair, problems: Sequence[Problem], section: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = {
        name: getattr(pair, name).tolist()
        for name in ("base_n", "base_c", "trained_n", "trained_c", "n", "base_first", "trained_first")
    }
    columns["chance_by_luck"] = pair.swap_chance.tolist()
    columns["cell"] = np.array(comparisons.CELLS)[pair.cells].tolist()
    return [
        {
            "problem_id": problem.problem_id,
            "benchmark": problem.benchmark,
            "level": problem.level,
            "base": section["base"],
            "trained": section["trained"],
            "role": section["role"],
            **{name: values[place] for name, values in columns.items()},
        }
        for place, problem in enumerate(problems)
    ]
