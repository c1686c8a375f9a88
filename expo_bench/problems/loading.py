"""A benchmark by name, from a data folder or the hub, or a user's own; with what the manifest records of it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError, did_you_mean
from expo_bench.problems import amc, beyond, contests, fields, files, hub_ids, minerva, olymmath, olympiad_bench
from expo_bench.problems.aime import AIME22_24, AIME24, AIME25
from expo_bench.problems.base import BadRow, Benchmark, Entry, Row, Unavailable
from expo_bench.problems.gpqa import GPQA_DIAMOND
from expo_bench.problems.gsm8k import GSM8K
from expo_bench.problems.identity import digest, with_ids
from expo_bench.problems.math import MATH, MATH500
from expo_bench.problems.omni_math import OMNI_MATH, OMNI_MATH_RULE
from expo_bench.problems.reading import containers
from expo_bench.problems.reading.mapping import Reading
from expo_bench.rows import Problem

_PUBLISHED = {
    benchmark.name: benchmark
    for benchmark in (
        MATH, MATH500, AIME24, AIME25, AIME22_24, *contests.BENCHMARKS, *amc.BENCHMARKS, *minerva.BENCHMARKS,
        *olympiad_bench.BENCHMARKS, *olymmath.BENCHMARKS, *beyond.BENCHMARKS, OMNI_MATH, OMNI_MATH_RULE, GSM8K,
        GPQA_DIAMOND,
    )
}  # fmt: skip
GROUPS = {
    group: tuple(one.name for one in _PUBLISHED.values() if group in one.groups)
    for group in sorted({group for one in _PUBLISHED.values() for group in one.groups})
}
"""Names under which several benchmarks are asked for at once."""
BENCHMARKS = (*_PUBLISHED, "micro")
DATA_VARIABLE = "EXPO_BENCH_DATA"
DEFAULT_SPLIT = "test"
NO_ANSWER = "have no gold answer: their samples cannot be graded"
REPEATED = "repeat the question of an earlier one: their ids end in -2, -3 and so on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One split of a benchmark, and where it comes from."""

    problems: list[Problem]
    provenance: dict[str, Any]
    """JSON values: name, split, source ("hub:REPO", "github:REPO", a file's name or "built in"), revision, digest,
    digest_status ("match", "changed", or "unknown" where no digest is shipped), n_problems, choice_seed where the
    questions have choices, and mapping where one was declared for the user's file."""
    warnings: list[str]
    """One line each; the run may go on."""


def load(
    name: str,
    *,
    split: str | None = None,
    data_dir: Path | None = None,
    revision: str | None = None,
    choice_seed: int = 0,
    reading: Reading | None = None,
) -> Loaded:
    """Return the problems of a known benchmark, or of a user's file, folder or dataset of the hub; docs/import.md.

    `reading` says how a user's rows are read; NAME=PATH names what stands at the path. A benchmark's file in `data_dir`
    (where that is None, in the folder that EXPO_BENCH_DATA names) is read in place of the hub. `choice_seed` decides
    the order of the choices of a multiple-choice benchmark.

    Raises:
        UserError: no such benchmark, file, split or revision; data that cannot be had; a row that cannot be read.
    """
    name = name.strip()
    if name in _PUBLISHED:
        return _load_published(_PUBLISHED[name], split or DEFAULT_SPLIT, data_dir, revision, choice_seed)
    if name == "micro":
        if revision is not None:
            raise UserError(f"{name} has no revisions; leave --dataset-revision out")
        return _load_micro(split or DEFAULT_SPLIT)
    return _load_own(name, split, revision, reading or Reading())


def load_all(
    names: Sequence[str],
    *,
    split: str | None = None,
    data_dir: Path | None = None,
    revision: str | None = None,
    choice_seed: int = 0,
    reading: Reading | None = None,
) -> list[Loaded]:
    """Return each benchmark as `load` does; the user's files that would share a name have their folder's before it.

    Raises:
        UserError: as `load`.
    """
    names = [one for name in names for one in GROUPS.get(name.strip(), (name,))]
    found = [
        load(name, split=split, data_dir=data_dir, revision=revision, choice_seed=choice_seed, reading=reading)
        for name in names
    ]
    counts = Counter(one.provenance["name"] for one in found)
    return [
        _renamed(one, f"{Path(text).expanduser().resolve().parent.name}-{one.provenance['name']}")
        if counts[one.provenance["name"]] > 1 and Path(text).expanduser().exists()
        else one
        for text, one in zip(names, found, strict=True)
    ]


def _renamed(loaded: Loaded, name: str) -> Loaded:
    old = loaded.provenance["name"]
    problems = [
        replace(one, benchmark=name, problem_id=f"{name}{one.problem_id.removeprefix(old)}") for one in loaded.problems
    ]
    warnings = [f"{name}: another file is called {old} too: this one goes by its folder", *loaded.warnings]
    return Loaded(problems=problems, provenance={**loaded.provenance, "name": name}, warnings=warnings)


def _load_published(
    benchmark: Benchmark, split: str, data_dir: Path | None, revision: str | None, choice_seed: int
) -> Loaded:
    parse = partial(benchmark.parse, choice_seed=choice_seed) if benchmark.has_choices else benchmark.parse
    _check_split(benchmark.name, split, tuple(benchmark.files))
    path = _local_file(benchmark.files[split], data_dir)
    if path is None:
        rows, resolved = _download(benchmark, split, revision)
        entries = _parsed(rows, parse, benchmark.source.name)
    elif revision is not None:
        raise UserError(f"{path} has no revisions; leave --dataset-revision out, or move the file away to read the hub")
    else:
        resolved = None
        entries = _parsed(containers.read(path), parse, path)
    entries, lacking = _with_solutions(benchmark, entries, data_dir, from_hub=path is None)
    problems = with_ids(entries, benchmark.name, split)
    source = path.name if path else benchmark.source.name
    expected = None if split in benchmark.digests else benchmark.counts.get(split)
    warnings = [*_row_warnings(entries), *lacking, *_count_warning(problems, expected)]
    loaded = _loaded(problems, source, resolved, benchmark.digests.get(split), warnings)
    return (
        replace(loaded, provenance={**loaded.provenance, "choice_seed": choice_seed})
        if benchmark.has_choices
        else loaded
    )


def _with_solutions(
    benchmark: Benchmark, entries: list[Entry], data_dir: Path | None, *, from_hub: bool
) -> tuple[list[Entry], list[str]]:
    """Return the entries with the solutions that stand in another file, and a warning where they cannot be had."""
    wanted = benchmark.solutions
    if wanted is None:
        return entries, []
    path = _local_file(wanted.file, data_dir)
    if path is None and not from_hub:
        return entries, []
    from expo_bench.problems import hub

    try:
        rows = [row for _, row in containers.read(path)] if path else hub.fetch(wanted.source, "train", None).rows
    except Unavailable as error:
        return entries, [f"its expert solutions cannot be had from {wanted.source.name}: {error}"]
    if len(rows) != len(entries):
        return entries, [f"{len(rows)} solutions do not fit {len(entries)} problems: they are left out"]
    return [
        replace(one, solution=str(row[wanted.field]))
        if row.get(wanted.field) and fields.answer(row, wanted.answer_field) == one.answer
        else one
        for one, row in zip(entries, rows, strict=True)
    ], []


def published(name: str) -> Benchmark | None:
    """Return the facts of a published benchmark; None for any other name."""
    return _PUBLISHED.get(name)


def budget(names: Sequence[str]) -> int | None:
    """Return the tokens of a completion that papers on these benchmarks use, the greatest; None for the default."""
    known = [_PUBLISHED[one] for name in names for one in GROUPS.get(name, (name,)) if one in _PUBLISHED]
    return max((one.max_tokens for one in known if one.max_tokens is not None), default=None)


def _load_micro(split: str) -> Loaded:
    from expo_bench.problems import micro

    _check_split("micro", split, ("test", "train"))
    return _loaded(micro.load(split), "built in", None, None, [])


def _load_own(text: str, split: str | None, revision: str | None, reading: Reading) -> Loaded:
    """Load what is the user's own. A file has no splits: its problems are of the one that is asked for."""
    given, name = files.split_name(text)
    path = Path(name).expanduser()
    if path.exists():
        if revision is not None:
            raise UserError(f"{name} has no revisions; leave --dataset-revision out")
        rows: list[tuple[str, Row]] = list(containers.read(path))
        benchmark, source, commit, split = files.benchmark_name(path), path.name, None, split or DEFAULT_SPLIT
    elif address := hub_ids.parse(name):
        rows, commit, split = hub_ids.rows(address, split, revision)
        benchmark, source = address.repo.rpartition("/")[2], f"hub:{address.repo}"
    elif path.suffix or len(path.parts) > 1:
        raise UserError(
            f"{name} is not a file; give the path of a file of problems, or a dataset of the hub, OWNER/NAME"
        )
    else:
        if name in GROUPS:
            raise UserError(f"{name} is the group {', '.join(GROUPS[name])}: name one of them here")
        near, there = did_you_mean(name, [*BENCHMARKS, *GROUPS]), ", ".join((*BENCHMARKS, *GROUPS))
        raise UserError(
            f"unknown benchmark {name!r}{near}; choose {there}, the path of a file, or OWNER/NAME of the hub"
        )
    parsed = files.parse(rows, path, reading, rows_of)
    warnings = [*parsed.warnings, *_row_warnings(parsed.entries)]
    benchmark = given or benchmark
    if benchmark in BENCHMARKS:
        warnings.append(
            f"this is your file {path.name}, not the benchmark; -b {benchmark} --data-dir checks its digest"
        )
    loaded = _loaded(with_ids(parsed.entries, benchmark, split), source, commit, None, warnings)
    if parsed.mapping.name == "default":
        return loaded
    return replace(loaded, provenance={**loaded.provenance, "mapping": parsed.mapping.described()})


def rows_of(name: str) -> Iterable[Row]:
    """Return the rows that a file joins: those of another file as they are, or the problems of a benchmark."""
    if name in BENCHMARKS:
        return [{"id": one.problem_id, **asdict(one)} for one in load(name).problems]
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f"--join {name}: there is no such file, and no such benchmark")
    return [row for _, row in containers.read(path)]


def _check_split(name: str, split: str, splits: Sequence[str]) -> None:
    if split not in splits:
        raise UserError(f"{name} has no split {split!r}; choose {' or '.join(splits)}")


def _local_file(file_name: str, data_dir: Path | None) -> Path | None:
    """Return the file's path in the data folder, or None to read the hub: no folder is named, or it lacks the file."""
    folder, origin = data_dir, "--data-dir"
    if folder is None:
        if not os.environ.get(DATA_VARIABLE):
            return None
        folder, origin = Path(os.environ[DATA_VARIABLE]), DATA_VARIABLE
    folder = folder.expanduser()
    if not folder.is_dir():
        raise UserError(f"the data folder {folder} that {origin} names does not exist")
    path = folder / file_name
    return path if path.is_file() else None


def _download(benchmark: Benchmark, split: str, revision: str | None) -> tuple[list[tuple[str, Row]], str | None]:
    from expo_bench.problems import hub

    source = benchmark.source.name
    try:
        fetched = hub.fetch(benchmark.source, split, revision)
    except Unavailable as error:
        raise UserError(
            f"cannot get {benchmark.name} from {source}: {error}; {f'{benchmark.access}, ' if benchmark.access else ''}"
            "check the network, HF_HUB_OFFLINE and --dataset-revision, "
            f"or put {benchmark.files[split]} into a folder and name that with --data-dir or {DATA_VARIABLE}"
        ) from error
    return [(f"{source} {split} row {number}", row) for number, row in enumerate(fetched.rows)], fetched.revision


def _parsed(rows: Iterable[tuple[str, Row]], parse: Callable[[Row], Entry], origin: object) -> list[Entry]:
    entries = []
    for place, row in rows:
        try:
            entries.append(parse(row))
        except BadRow as error:
            raise UserError(f"{place}: {error}") from error
    if not entries:
        raise UserError(f"{origin} holds no problems; it must have one JSON object a line")
    return entries


def _row_warnings(entries: Sequence[Entry]) -> list[str]:
    counts = Counter(entry.note for entry in entries if entry.note)
    counts[NO_ANSWER] = sum(not entry.answer for entry in entries)
    counts[REPEATED] = len(entries) - len({entry.question for entry in entries})
    return [f"{count} of {len(entries)} problems {what}" for what, count in counts.items() if count]


def _count_warning(problems: Sequence[Problem], expected: int | None) -> list[str]:
    if expected is None or expected == len(problems):
        return []
    return [f"there are {len(problems)} problems where {expected} were published"]


def _loaded(
    problems: list[Problem], source: str, revision: str | None, known_digest: str | None, warnings: Iterable[str]
) -> Loaded:
    name, split, found = problems[0].benchmark, problems[0].split, digest(problems)
    messages = [f"{name} {split}: {warning}" for warning in warnings]
    status = "unknown" if known_digest is None else "match" if found == known_digest else "changed"
    if status == "changed":
        messages.append(
            f"{name} {split}: questions or answers differ from those that this release knows (digest {found[:12]}, "
            f"known {str(known_digest)[:12]}); numbers may not compare with those of others"
        )
    provenance = {
        "name": name,
        "split": split,
        "source": source,
        "revision": revision,
        "digest": found,
        "digest_status": status,
        "n_problems": len(problems),
    }
    return Loaded(problems=problems, provenance=provenance, warnings=messages)
