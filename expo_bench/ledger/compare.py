"""The stage from run folders to the sharpening ledger: did training make the policy surer, or solve new problems?

docs/sharpening.md defines every number.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.errors import UserError
from expo_bench.grading.judge import GRADER
from expo_bench.ledger import comparisons
from expo_bench.ledger.confirmation import confirm
from expo_bench.ledger.contents import DRAWS, Pair, level_subsets, match, reach_beyond, subset_numbers
from expo_bench.ledger.controls import (
    CONTROL_MAY_DIFFER,
    GUESS_MUST_SHARE,
    beside,
    guess_subsets,
    guessed,
    match_entropy,
)
from expo_bench.ledger.outcomes import Outcomes, read_outcomes
from expo_bench.ledger.perplexities import lift_by_rank, perplexities
from expo_bench.ledger.rank_bias import rank_bias
from expo_bench.ledger.scores import Scores, entropy, read_scores
from expo_bench.ledger.verdicts import CLAIMS, adjust, beats_control, confirmed, verdict
from expo_bench.rows import Problem
from expo_bench.storage.row_files import write_atomically

SCHEMA_VERSION = 2
TARGETS = {
    "low, high": "problems like these: new ones from the same source",
    "these_low, these_high": "these problems: other samples of the same ones",
    "p": "one policy, exchanged problem by problem",
    "p_these": "one rate on each of these problems",
}
"""For whom the numbers of a ledger speak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is compared."""

    base: Path
    trained: tuple[Path, ...]
    controls: tuple[Path, ...] = ()
    """Runs of the base at another temperature, or of tempered copies of it."""
    guess: Path | None = None
    """A run of the base that is asked for the answer alone, without a chain of thought."""
    grader: str = GRADER
    allow_different_protocol: bool = False
    likelihoods: tuple[Path, ...] = ()
    """Folders of candidates with likelihoods, for the perplexities."""
    with_rank_bias: bool = False
    """Read every sample for its log-probability, as with controls and likelihoods."""
    names: Mapping[Path, str] | None = None
    """What runs are called, where their folders' names do not say it."""
    seed: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """All runs."""
        return (self.base, *self.trained, *self.controls, *([self.guess] if self.guess else []))

    @property
    def reads_scores(self) -> bool:
        """Whether every sample is read for its log-probability."""
        return self.with_rank_bias or bool(self.likelihoods or self.controls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The result: `content` goes to ledger.json, `rows` to ledger.parquet."""

    content: dict[str, Any]
    rows: list[dict[str, Any]]
    """One a problem and comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was read of the runs, on the problems that all of them hold."""

    runs: dict[Path, Outcomes]
    scores: dict[Path, Scores | None]
    problems: list[Problem]
    subsets: dict[str, NDArray[np.intp]]
    guessable: NDArray[np.bool_] | None


def compare(request: Request) -> Ledger:
    """Build the ledger of the base against each trained model and control; nothing is written.

    Raises:
        UserError: runs under different protocols, without common problems, or with samples that have no grade.
    """
    names = names_of(request)
    runs = {path: read_outcomes(path, request.grader, name) for path, name in names.items()}
    differing = check_protocols(request, runs)
    read = _read(request, runs)
    about = {names[path]: _about(path, run, read, wanted=request.reads_scores) for path, run in runs.items()}
    contrasts = list(_contrasts(request))
    pairs = [match(read.runs[one], read.runs[other]) for one, other, _ in contrasts]
    sections = [
        _section(request, read, (one, other), role, pair)
        for (one, other, role), pair in zip(contrasts, pairs, strict=True)
    ]
    adjust(sections)
    against_base = {
        other: section
        for (_, other, role), section in zip(contrasts, sections, strict=True)
        if role != "trained against control"
    }
    rows = []
    for (one, other, role), pair, section in zip(contrasts, pairs, sections, strict=True):
        over_all = section["subsets"]["all"]
        if role == "trained against control":
            other_numbers = against_base[other]["subsets"]["all"]
            section["verdict"] = beats_control(over_all, other_numbers, control=names[one], trained=names[other])
        else:
            section["verdict"] = verdict(over_all, base=names[one], trained=names[other])
            rest = section["subsets"].get("guessable=no")
            section["verdict_not_guessable"] = rest and verdict(rest, base=names[one], trained=names[other])
            rows += _rows(pair, read, section)
        if role == "trained":
            controls = [names[path] for path in request.controls]
            section["matched_entropy"] = match_entropy(names[other], controls, about)
    content = {
        "schema_version": SCHEMA_VERSION,
        "grader": request.grader,
        "seed": request.seed,
        "bootstrap_draws": DRAWS,
        "targets": TARGETS,
        "family": _family(sections),
        "n_problems": len(read.problems),
        "guessable": None if read.guessable is None else int(read.guessable.sum()),
        "protocol_differs_in": differing,
        "runs": about,
        "comparisons": sections,
        "controls": beside(sections),
        "notes": [],
    }
    return Ledger(content=content, rows=rows)


def _family(sections: Sequence[Mapping[str, Any]]) -> str:
    against_base = [f"{one['trained']}" for one in sections if one["role"] != "trained against control"]
    return (
        f"Verdicts hold at 5% for one family of tests (Holm): {', '.join(CLAIMS)} of {', '.join(against_base)} against "
        f"{sections[0]['base']}. Levels are another family, and trained models against controls a third."
    )


def matched(request: Request) -> dict[str, Pair]:
    """Return each trained run beside the base, on the problems that all hold, refused as by `compare`; tests nothing.

    Raises:
        UserError: as `compare`.
    """
    names = names_of(request)
    runs = {path: read_outcomes(path, request.grader, name) for path, name in names.items()}
    check_protocols(request, runs)
    ids = common_problems(runs)
    base = runs[request.base].only(ids)
    return {names[path]: match(base, runs[path].only(ids)) for path in request.trained}


def _read(request: Request, runs: Mapping[Path, Outcomes]) -> _Read:
    ids = common_problems(runs)
    matched = {path: run.only(ids) for path, run in runs.items()}
    problems = list(matched[request.base].problems.values())
    check_answers(matched.values(), problems)
    guessable = guessed(matched[request.guess], matched[request.base]) if request.guess else None
    return _Read(
        runs=matched,
        scores={path: read_scores(path, run) if request.reads_scores else None for path, run in matched.items()},
        problems=problems,
        subsets=level_subsets(problems) | ({} if guessable is None else guess_subsets(guessable)),
        guessable=guessable,
    )


def _section(request: Request, read: _Read, paths: tuple[Path, Path], role: str, pair: Pair) -> dict[str, Any]:
    """Return all numbers of one comparison, without its verdict."""
    one, other = (read.runs[path] for path in paths)
    (model, own), (other_model, other_own) = ((read.runs[path].manifest.model, read.scores[path]) for path in paths)
    return {
        "base": one.name,
        "trained": other.name,
        "role": role,
        "subsets": {name: subset_numbers(pair.take(places), request.seed) for name, places in read.subsets.items()},
        "beyond": None if role == "trained against control" else reach_beyond(pair),
        "perplexity": perplexities((model, own), (other_model, other_own), request.likelihoods),
        "lift_by_rank": lift_by_rank(model, other_model, request.likelihoods),
        "rank_bias": rank_bias((one, own), (other, other_own), wanted=request.with_rank_bias),
    }


def new_problems(ledger: Ledger) -> list[str]:
    """Return the problems that some trained model solved and its base did not, in order."""
    return list(
        dict.fromkeys(
            row["problem_id"] for row in ledger.rows if row["role"] == "trained" and row["cell"] == "trained_only"
        )
    )


def with_confirmation(ledger: Ledger, fresh: Path, rate: float) -> Ledger:
    """Return the ledger with what fresh samples of the base say of the problems that seemed new.

    Args:
        ledger: from `compare`.
        fresh: a run of the base on `new_problems`, its samples drawn after they were chosen.
        rate: a problem that the base solves at least so often is not called new.
    """
    run = read_outcomes(fresh, ledger.content["grader"], "confirmation")
    solved = dict(zip(run.problems, run.solved(run.n), strict=True))
    if not solved:
        raise UserError(f"{fresh}: no fresh sample tells whether it is right; draw them again with --redraw-errors")
    arms = [one for one in ledger.content["comparisons"] if one["role"] == "trained"]
    sections = []
    for section in ledger.content["comparisons"]:
        new = [
            row["problem_id"]
            for row in ledger.rows
            if (row["base"], row["trained"], row["cell"]) == (section["base"], section["trained"], "trained_only")
        ]
        if section["role"] == "trained":
            # what timed out or failed tells nothing
            tried = [one for one in new if one in solved]
            unsolved = sum(not solved[one] for one in tried)
            found = confirm(len(tried), unsolved, int(run.n.min()), rate, family=len(arms))
            told = confirmed(section["verdict"], found, base=section["base"])
            left_out = {"problems_left_out": len(new) - len(tried)}
            section = {**section, "confirmation": {**found, **left_out, "run": str(fresh)}, "verdict": told}
        sections.append(section)
    return Ledger(content={**ledger.content, "comparisons": sections}, rows=ledger.rows)


def write(ledger: Ledger, folder: Path) -> None:
    """Write ledger.json and ledger.parquet into the folder, each atomically."""
    import pyarrow
    from pyarrow import parquet

    buffer = BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ledger.rows), buffer, compression="zstd")
    write_atomically(folder / "ledger.parquet", buffer.getvalue())
    write_atomically(folder / "ledger.json", json.dumps(ledger.content, indent=1, allow_nan=False))


def names_of(request: Request) -> dict[Path, str]:
    """Return a short name for each run: its folder's; where several share that, the path from where they part."""
    full = [path.resolve() for path in request.paths]
    if len(set(full)) < len(full):
        raise UserError("a run is named twice: compare different run folders")
    names = {}
    for path, own in zip(request.paths, full, strict=True):
        alike = [other for other in full if other.name == own.name]
        names[path] = own.name if len(alike) == 1 else str(own.relative_to(commonpath(alike)))
    names |= {path: name for path, name in (request.names or {}).items() if path in names}
    if len(set(names.values())) < len(names):
        raise UserError(f"two runs have one name: {', '.join(names.values())}")
    return names


def _contrasts(request: Request) -> Iterator[tuple[Path, Path, str]]:
    for path in request.trained:
        yield request.base, path, "trained"
    for control in request.controls:
        yield request.base, control, "control"
        for path in request.trained:
            yield control, path, "trained against control"


def check_protocols(request: Request, runs: Mapping[Path, Outcomes]) -> dict[str, list[str]]:
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
        control = path in request.controls and set(differing) <= CONTROL_MAY_DIFFER
        guess = path == request.guess and not set(differing) & GUESS_MUST_SHARE
        if not (control or guess or request.allow_different_protocol):
            what = ", ".join(f"{key} ({base.protocol.get(key)!r}, {manifest.protocol.get(key)!r})" for key in differing)
            raise UserError(
                f"{request.base} and {path} were run under different protocols: {what or 'their hashes differ'}; "
                "evaluate both alike, or compare them nevertheless with --allow-different-protocol"
            )
    return found


def common_problems(runs: Mapping[Path, Outcomes]) -> list[str]:
    """Return the problems that all runs hold, in the first one's order; refuse runs without any."""
    first, *others = (run.problems for run in runs.values())
    ids = [problem_id for problem_id in first if all(problem_id in other for other in others)]
    if not ids:
        raise UserError(f"{', '.join(map(str, runs))} have no problem in common: evaluate them on the same benchmark")
    return ids


def check_answers(runs: Iterable[Outcomes], problems: Sequence[Problem]) -> None:
    """Refuse runs that hold these problems, in this order, with other gold answers."""
    for run in runs:
        for problem, other in zip(problems, run.problems.values(), strict=True):
            if problem.answer != other.answer:
                raise UserError(f"problem {problem.problem_id} has another gold answer in {run.name}: not comparable")


def _about(path: Path, run: Outcomes, read: _Read, *, wanted: bool) -> dict[str, Any]:
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
            "not in every run": len(run.problems) - len(read.problems),
        },
        "entropy": entropy(read.runs[path], read.scores[path], wanted=wanted),
    }


def _rows(pair: Pair, read: _Read, section: Mapping[str, Any]) -> list[dict[str, Any]]:
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
            "guessable": None if read.guessable is None else bool(read.guessable[place]),
            **{name: values[place] for name, values in columns.items()},
        }
        for place, problem in enumerate(read.problems)
    ]
