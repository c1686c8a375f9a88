"""Samples that somebody else drew become a run folder; docs/import.md tells of which files."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expo_bench.engines.digest import text_digest
from expo_bench.errors import UserError
from expo_bench.grading.judge import GRADER
from expo_bench.importing.foreign import ForeignFile, Texts, moment
from expo_bench.importing.lighteval import read_lighteval
from expo_bench.importing.lm_eval import PUBLISHED, read_lm_eval
from expo_bench.importing.mapped import read_mapped
from expo_bench.problems import Reading, hub_ids
from expo_bench.problems.base import Row
from expo_bench.problems.identity import digest
from expo_bench.problems.loading import DEFAULT_SPLIT
from expo_bench.problems.reading import containers
from expo_bench.rows import FinishReason, Grade, Manifest, Problem, Sample
from expo_bench.storage.row_files import encode, write_atomically
from expo_bench.storage.run_folder import SCHEMA_VERSION, RunFolder

FORMATS = ("auto", "lm-eval", "lighteval", "mapping")
FILE_GRADER = "file"
"""Name of the grades that hold a file's own verdicts."""
_LM_EVAL = {"doc", "doc_id", "arguments", "resps"}
_LIGHTEVAL = ({"doc", "model_response"}, {"example", "predictions", "cont_tokens"})


def import_run(
    paths: Sequence[Path | str],
    run: RunFolder,
    *,
    benchmark: str | None = None,
    format: str = "auto",
    reading: Reading | None = None,
    model: str | None = None,
    split: str = DEFAULT_SPLIT,
    note: Callable[[str], None] | None = None,
) -> Manifest:
    """Write problems, samples and manifest of a run from anyone's files, and their own verdicts as grades of `file`.

    An import that was stopped is made again from its files; one that is finished is left as it is.

    Args:
        paths: samples of lm-evaluation-harness, lighteval, or in any shape that a preset or `reading` declares: tasks,
            or seeds of a task. Files, folders, or datasets of the hub, as `load` takes them.
        run: must not exist yet, or be empty, or hold an import of the same files.
        benchmark: name of the benchmark of all files; None to tell it from the task's name.
        format: "lm-eval", "lighteval", "mapping", or "auto" to tell it from the fields of the first row.
        reading: how files of other shapes are read.
        model: the policy's name, where the files do not tell it.
        split: of the benchmark; samples of training are of "train".
        note: called with each line that the user should read.

    Raises:
        UserError: a file that is not understood, given twice, or of another model; a folder that is not empty.
    """
    if format not in FORMATS:
        raise UserError(f"--format {format}: choose {', '.join(FORMATS)}")
    sources = [_source(path) for path in paths]
    if len({source.digest for source in sources}) < len(paths):
        raise UserError("two of the files are the same: their samples would count twice")
    read = [_read(source, format, benchmark, reading or Reading(), model, split) for source in sources]
    kinds = {kind for kind, _ in read}
    if len(kinds) > 1:
        raise UserError("the files are of two harnesses: import those of each into a run of its own")
    files = [one for _, one in read]
    for line in [line for one in files for line in one.warnings]:
        if note:
            note(line)
    names = sorted({str(one.model["name"]) for one in files})
    if len(names) > 1:
        raise UserError(f"the files are of several models ({', '.join(names)}): import each into a run of its own")
    problems, samples, verdicts = _rows(files)
    manifest = _manifest(kinds.pop(), files, problems, len(samples), [source.digest for source in sources])
    with run.lock():
        there = _imported_before(run, manifest)
        if there is not None and there.status == "finished":
            return there
        # first, so that a folder that a kill leaves behind says what it was to become
        run.write_manifest(replace(manifest, status="started"))
        run.write_problems(problems)
        write_atomically(run.samples_path, b"".join(map(encode, samples)))
        if verdicts:
            write_atomically(run.grades_path(FILE_GRADER), b"".join(map(encode, verdicts)))
        run.write_manifest(manifest)
    return manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A file, a folder, or a split of a dataset of the hub, which has a path of its names."""

    path: Path
    digest: str
    rows: list[tuple[str, Row]] | None = None
    """Of the hub; those of a file are read when they are needed."""


def _source(given: Path | str) -> _Source:
    path = Path(given)
    address = None if path.exists() else hub_ids.parse(str(given))
    if address is None:
        if not path.exists():
            raise UserError(f"{given} is not a file, nor a folder of files, nor OWNER/NAME of the hub")
        return _Source(path=path, digest=_file_digest(path))
    try:
        rows, commit, split = hub_ids.rows(address, None, None)
    except UserError as error:
        raise UserError(f"there is no file {given} here, and {error}") from error
    told = commit or hashlib.sha256(json.dumps([row for _, row in rows], default=str).encode()).hexdigest()
    return _Source(
        path=Path(address.repo) / (address.config or split), digest=f"{told} {address.config} {split}", rows=rows
    )


def _read(
    source: _Source, format: str, benchmark: str | None, reading: Reading, model: str | None, split: str
) -> tuple[str, ForeignFile]:
    """Return the kind of a file, and what it holds."""
    path = source.path
    rows = list(containers.read(path)) if source.rows is None else source.rows
    if not rows:
        raise UserError(f"{path} holds no samples")
    kind = _kind(rows[0][1], reading) if format == "auto" else format
    if kind == "mapping":
        found = read_mapped(path, rows, reading, benchmark, model, split)
        return str((found.mapping or {}).get("preset", kind)), found
    found = (read_lm_eval if kind == "lm-eval" else read_lighteval)(path, rows, benchmark, split)
    return kind, replace(found, model={**found.model, "name": model}) if model else found


def _imported_before(run: RunFolder, wanted: Manifest) -> Manifest | None:
    """Return the manifest of an import of the same files that was begun in the folder; None where that is empty."""
    there = run.read_manifest() if run.manifest_path.is_file() else None
    if there is None and all(path.name.startswith(".") for path in run.path.iterdir()):
        return None
    # files whose names tell no moment were written now
    if there is None or replace(there, status=wanted.status, started=wanted.started) != wanted:
        raise UserError(f"{run.path} is not empty and no import of these files; choose another folder with -o")
    return there


def _file_digest(path: Path) -> str:
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    parts = [f"{one.relative_to(path)} {hashlib.sha256(one.read_bytes()).hexdigest()}" for one in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _kind(row: Row, reading: Reading) -> str:
    if reading.is_declared:
        return "mapping"
    if len(_LM_EVAL & set(row)) >= len(_LM_EVAL) - 1:
        return "lm-eval"
    return "lighteval" if any(names <= set(row) for names in _LIGHTEVAL) else "mapping"


def _rows(read: Sequence[ForeignFile]) -> tuple[list[Problem], list[Sample], list[Grade]]:
    """Merge the files; a problem that stands in several has its samples numbered on, in the order of the files.

    The grades are the files' own.
    """
    problems: dict[str, Problem] = {}
    counts: Counter[str] = Counter()
    samples: list[Sample] = []
    verdicts: list[Grade] = []
    for one in read:
        for found in one.found:
            problem = problems.setdefault(found.problem.problem_id, found.problem)
            if problem.answer != found.problem.answer:
                answers = f"{problem.answer!r} and {found.problem.answer!r}"
                raise UserError(f"{one.path}: the files give {problem.problem_id} two gold answers, {answers}")
            for place in range(len(found.texts)):
                samples.append(_sample(found, place, counts[problem.problem_id]))
                own = found.scores[place] if found.scores else None
                if own is not None:
                    verdicts.append(_verdict(samples[-1], own))
                counts[problem.problem_id] += 1
    return list(problems.values()), samples, verdicts


def _verdict(sample: Sample, right: bool) -> Grade:
    return Grade(
        problem_id=sample.problem_id,
        sample_index=sample.sample_index,
        grader=FILE_GRADER,
        status="graded",
        correct=right,
        extracted=None,
        answer_class=None,
        seconds=0.0,
    )


def _sample(found: Texts, place: int, index: int) -> Sample:
    n_tokens = found.n_tokens[place] if found.n_tokens else None
    full = found.limit is not None and n_tokens is not None and n_tokens >= found.limit
    full = full or bool(found.cut_off and found.cut_off[place])
    text = found.texts[place]
    ended: FinishReason = "error" if text is None else "length" if full else "stop"
    return Sample(
        problem_id=found.problem.problem_id,
        sample_index=index,
        prompt_kind="solve",
        # half a surrogate pair could not be stored
        text=(text or "").encode(errors="replace").decode(),
        token_ids=None,
        n_tokens=n_tokens,
        finish_reason=ended,
        seed=None,
        sum_logprob=None,
        error="the file has no completion" if text is None else None,
    )


def _manifest(
    kind: str, read: Sequence[ForeignFile], problems: Sequence[Problem], n_samples: int, digests: Sequence[str]
) -> Manifest:
    tasks: dict[str, dict[str, Any]] = {}
    for one in read:
        said = {**one.sampling, "prompt_digest": _prompt_digest(one.found)}
        if tasks.setdefault(one.task, said) != said:
            raise UserError(
                f"{one.path}: other settings or prompts than in another file of {one.task}: import it apart"
            )
    settings = list(tasks.values())
    common = {key: settings[0][key] for key in settings[0] if all(one[key] == settings[0][key] for one in settings)}
    shared = {key: common.get(key) for key in ("temperature", "top_p", "max_tokens", "stop")}
    protocol = {
        "imported": True,
        "format": kind,
        "prompt": ", ".join(tasks),
        **shared,
        **({"mapping": read[0].mapping} if read[0].mapping else {}),
        "tasks": tasks,
        "grader": GRADER,
    }
    text = json.dumps(protocol, sort_keys=True, default=str)
    benchmarks = {one.benchmark: _provenance(one, read, problems) for one in read}
    seeds = {one.seed for one in read}
    files_there = {one.path.name: found for one, found in zip(read, digests, strict=True)}
    return Manifest(
        schema_version=SCHEMA_VERSION,
        status="finished",
        started=moment(read[0].path),
        finished=None,
        protocol_hash=text_digest(text),
        protocol=json.loads(text),
        model=read[0].model,
        benchmarks=benchmarks,
        seed=seeds.pop() if len(seeds) == 1 else None,
        environment={**read[0].versions, "imported_files": files_there},
        counts={"problems": len(problems), "samples": n_samples},
    )


def _provenance(one: ForeignFile, read: Sequence[ForeignFile], problems: Sequence[Problem]) -> dict[str, Any]:
    own = [problem for problem in problems if problem.benchmark == one.benchmark]
    known = PUBLISHED[one.benchmark].digests.get(own[0].split) if one.benchmark in PUBLISHED else None
    return {
        "name": one.benchmark,
        "split": own[0].split,
        "source": ", ".join(other.path.name for other in read if other.benchmark == one.benchmark),
        "revision": None,
        "digest": digest(own),
        # files may hold a part of a benchmark only, which no digest is known of
        "digest_status": "match" if digest(own) == known else "unknown",
        "n_problems": len(own),
    }


def _prompt_digest(found: Sequence[Texts]) -> str:
    """Return a digest of the prompts around the questions: one template, or as many as the examples in them vary."""
    templates = sorted({one.prompt.replace(one.problem.question, "{question}") for one in found})
    return text_digest(json.dumps(templates))
