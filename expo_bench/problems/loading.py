"""A benchmark by name, from a data folder or the hub, or a user's file; with what the manifest records of it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError, did_you_mean
from expo_bench.problems import files
from expo_bench.problems.aime import AIME24, AIME25
from expo_bench.problems.base import BadRow, Benchmark, Entry, Row, Unavailable
from expo_bench.problems.gpqa import GPQA_DIAMOND
from expo_bench.problems.gsm8k import GSM8K
from expo_bench.problems.identity import digest, with_ids
from expo_bench.problems.math import MATH, MATH500
from expo_bench.problems.omni_math import OMNI_MATH, OMNI_MATH_RULE
from expo_bench.rows import Problem

_PUBLISHED = {
    benchmark.name: benchmark
    for benchmark in (MATH, MATH500, AIME24, AIME25, OMNI_MATH, OMNI_MATH_RULE, GSM8K, GPQA_DIAMOND)
}
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
    digest_status ("match", "changed", or "unknown" where no digest is shipped), n_problems, and choice_seed where the
    questions have choices."""
    warnings: list[str]
    """One line each; the run may go on."""


def load(
    name: str,
    *,
    split: str | None = None,
    data_dir: Path | None = None,
    revision: str | None = None,
    choice_seed: int = 0,
) -> Loaded:
    """Return the problems of a known benchmark, or of a JSON-lines file if `name` is its path.

    A benchmark's file in `data_dir` (where that is None, in the folder that EXPO_BENCH_DATA names) is read in place of
    the hub. `choice_seed` decides the order of the choices of a multiple-choice benchmark.

    Raises:
        UserError: no such benchmark, file, split or revision; data that cannot be had; a row that cannot be read.
    """
    split = split or DEFAULT_SPLIT
    if name in _PUBLISHED:
        return _load_published(_PUBLISHED[name], split, data_dir, revision, choice_seed)
    if revision is not None:
        raise UserError(f"{name} has no revisions; leave --dataset-revision out")
    return _load_micro(split) if name == "micro" else _load_user_file(name, split)


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
        entries = _parsed(files.read_rows(path), parse, path)
    problems = with_ids(entries, benchmark.name, split)
    source = path.name if path else benchmark.source.name
    warnings = [*_row_warnings(entries), *_count_warning(problems, benchmark.counts.get(split))]
    loaded = _loaded(problems, source, resolved, benchmark.digests.get(split), warnings)
    return (
        replace(loaded, provenance={**loaded.provenance, "choice_seed": choice_seed})
        if benchmark.has_choices
        else loaded
    )


def _load_micro(split: str) -> Loaded:
    from expo_bench.problems import micro

    _check_split("micro", split, ("test", "train"))
    return _loaded(micro.load(split), "built in", None, None, [])


def _load_user_file(name: str, split: str) -> Loaded:
    path = Path(name).expanduser()
    if not path.is_file():
        if path.suffix != ".jsonl" and not path.exists():
            near = did_you_mean(name, BENCHMARKS)
            there = ", ".join(BENCHMARKS)
            raise UserError(f"unknown benchmark {name!r}{near}; choose {there}, or the path of a .jsonl file")
        raise UserError(f"{name} is not a file; give the path of a .jsonl file")
    _check_split(name, split, (DEFAULT_SPLIT,))
    entries = _parsed(files.read_rows(path), files.parse_user_row, path)
    benchmark, warnings = files.benchmark_name(path), _row_warnings(entries)
    if benchmark in BENCHMARKS:
        warnings.append(
            f"this is your file {path.name}, not the benchmark; -b {benchmark} --data-dir checks its digest"
        )
    return _loaded(with_ids(entries, benchmark, split), path.name, None, None, warnings)


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
