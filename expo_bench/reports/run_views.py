"""Run folders as a report names, describes and compares them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from expo_bench.errors import UserError
from expo_bench.reports.pages import flatten
from expo_bench.reports.tables import MISSING, MetricTable, Subset
from expo_bench.reports.text import short
from expo_bench.rows import Manifest
from expo_bench.storage.locking import being_written
from expo_bench.storage.run_folder import RunFolder

LABEL_LIMIT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run with its metrics, as one of the runs of a report."""

    folder: RunFolder
    manifest: Manifest
    metrics: MetricTable
    position: int
    letter: str
    """Empty where the run is the only one."""
    label: str

    @property
    def name(self) -> str:
        """Letter and label."""
        return f"{self.letter}\N{NO-BREAK SPACE}·\N{NO-BREAK SPACE}{self.label}" if self.letter else self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that a reader has to know before the numbers."""

    text: str
    items: list[str]


def read_runs(folders: Sequence[RunFolder], grader: str) -> list[RunView]:
    """Read manifests and metrics.

    Raises:
        UserError: there is no run, or one has no metrics, or none of this grader.
    """
    if not folders:
        raise UserError("a report needs at least one run folder")
    manifests = [folder.read_manifest() for folder in folders]
    labels = _labels(folders, manifests)
    return [
        RunView(
            folder=folder,
            manifest=manifest,
            metrics=_read_metrics(folder, grader),
            position=position,
            letter=_letter(position) if len(folders) > 1 else "",
            label=label,
        )
        for position, (folder, manifest, label) in enumerate(zip(folders, manifests, labels, strict=True))
    ]


def _read_metrics(folder: RunFolder, grader: str) -> MetricTable:
    metrics = folder.metrics()
    if not metrics and being_written(folder.path):
        raise UserError(f"{folder.path} is still being drawn: expo-bench view shows how far it is")
    if not metrics:
        raise UserError(f"{folder.path} has no metrics yet: resume the run with --resume {folder.path}")
    own = [metric for metric in metrics if metric.grader == grader]
    if not own:
        known = ", ".join(sorted({metric.grader for metric in metrics}))
        raise UserError(f"{folder.path} has no metrics of grader {grader!r}; it has those of {known}")
    return MetricTable(own)


def _letter(position: int) -> str:
    return chr(ord("A") + position % 26) * (position // 26 + 1)


def model_name(manifest: Manifest) -> str:
    """Return the model's name without its owner or folder."""
    name = str(manifest.model.get("name") or "unnamed model")
    return short(name.rstrip("/").rpartition("/")[2] or name, LABEL_LIMIT)


def engine_name(manifest: Manifest) -> str:
    """Return the engine's name, or a dash."""
    return describe(manifest.model.get("engine"))


def _labels(folders: Sequence[RunFolder], manifests: Sequence[Manifest]) -> list[str]:
    """Name each run by its model, or by what else it takes to tell it from the others."""
    models = [model_name(manifest) for manifest in manifests]
    engines = [engine_name(manifest) for manifest in manifests]
    benchmarks = [" + ".join(manifest.benchmarks) for manifest in manifests]
    names = [folder.path.resolve().name for folder in folders]
    choices = [[engines], [benchmarks], [engines, benchmarks], [names]]
    if len(set(models)) > 1 or len(models) == 1:
        choices = [[models], *([models, *choice] for choice in choices)]
    for parts in choices:
        labels = [short(", ".join(words), LABEL_LIMIT) for words in zip(*parts, strict=True)]
        if len(set(labels)) == len(labels):
            break
    return labels


def describe(value: Any) -> str:
    """Return a manifest value in a few words; of an object, its name where it has one."""
    if isinstance(value, Mapping):
        value = value.get("name") or ", ".join(f"{name} {text}" for name, text in flatten(dict(value)))
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return MISSING if value in (None, "") else short(str(value), 200)


def facts(run: RunView, grader: str) -> list[tuple[str, str]]:
    """Return what was run as (name, value) pairs."""
    manifest, version = run.manifest, run.manifest.model.get("engine_version")
    return [
        ("Model", describe(manifest.model.get("name"))),
        ("Benchmark", describe_benchmarks(run)),
        ("Samples per problem", samples_per_problem(run)),
        ("Sampling", sampling(manifest.protocol)),
        ("Prompt", describe(manifest.protocol.get("prompt"))),
        ("Engine", " ".join(filter(None, [engine_name(manifest), version and describe(version)]))),
        ("Started", date_text(manifest.started)),
        ("From start to end", _duration(manifest)),
        ("Seed", str(manifest.seed)),
        ("Grader", grader),
        ("Protocol hash", short(manifest.protocol_hash, 16)),
        ("Run folder", run.folder.path.resolve().name),
    ]


def sampling(protocol: Mapping[str, Any]) -> str:
    """Return temperature, top-p and budgets in words."""
    words = {
        "temperature": "temperature {}",
        "top_p": "top-p {}",
        "thinking_tokens": "thinking for at most {} tokens",
        "max_tokens": "at most {} tokens",
    }
    found = [text.format(describe(protocol[name])) for name, text in words.items() if protocol.get(name) is not None]
    return ", ".join(found) or MISSING


def describe_benchmarks(run: RunView) -> str:
    """Return each benchmark with its number of problems."""
    parts = []
    for name, about in run.manifest.benchmarks.items():
        metric = run.metrics.get(run.metrics.average, Subset(name))
        inside = [str(about["split"])] if about.get("split") else []
        inside += [f"{metric.n_problems:,} problem{'s' * (metric.n_problems != 1)}"] if metric else []
        parts.append(short(name, 60) + (f" ({', '.join(inside)})" if inside else ""))
    return ", ".join(parts) or MISSING


def samples_per_problem(run: RunView) -> str:
    """Return n, or the mean of n where problems differ; of a run without metrics what was asked for."""
    metric = run.metrics.get(run.metrics.average)
    if metric is None or not metric.n_problems:
        return describe(run.folder.settings().get("n"))
    return f"{metric.n_samples / metric.n_problems:.4g}"


def date_text(moment: str) -> str:
    """Return an ISO date and time in words; anything else as it is."""
    parsed = _parse(moment)
    return short(moment, 40) if parsed is None else f"{parsed.day} {parsed:%B %Y, %H:%M} UTC"


def _parse(moment: str | None) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _duration(manifest: Manifest) -> str:
    start, end = _parse(manifest.started), _parse(manifest.finished)
    if start is None or end is None:
        return "not finished" if manifest.status == "started" else MISSING
    seconds = int((end - start).total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def notes(runs: Sequence[RunView]) -> list[Note]:
    """Return what speaks against taking the numbers, or their differences, at their face."""
    found = []
    unfinished = [run.name for run in runs if run.manifest.status != "finished"]
    if unfinished:
        found.append(
            Note(text="Not finished: the numbers cover what was there when they were computed.", items=unfinished)
        )
    changed = [
        f"{run.name}: {short(name, 60)}"
        for run in runs
        for name, about in run.manifest.benchmarks.items()
        if about.get("digest_status") == "changed"
    ]
    if changed:
        text = "Changed data: questions or answers are not those of the published benchmark that expo-bench knows."
        found.append(Note(text=text, items=changed))
    hashes = {run.manifest.protocol_hash for run in runs}
    if len(hashes) > 1:
        text = (
            f"These runs do not share a protocol ({len(hashes)} protocol hashes among {len(runs)} runs), so a "
            "difference between their numbers may come from how they were run and not from the models."
        )
        found.append(Note(text=text, items=differences(runs)))
    if len(runs) > 1 and len({_problem_set(run) for run in runs}) > 1:
        text = "These runs do not cover the same problems; compare them benchmark by benchmark, if at all."
        found.append(Note(text=text, items=[f"{run.name}: {describe_benchmarks(run)}" for run in runs]))
    return found


def differences(runs: Sequence[RunView]) -> list[str]:
    """Return each protocol setting that is not the same in all runs, with its values."""
    settings = [dict(flatten(run.manifest.protocol)) for run in runs]
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    lines = []
    for name in names:
        values = [short(setting.get(name, "not set"), 60) for setting in settings]
        if len(set(values)) > 1:
            pairs = (f"{run.letter} {value}" for run, value in zip(runs, values, strict=True))
            lines.append(f"{short(name, 60)}: {'; '.join(pairs)}")
    return lines


def _problem_set(run: RunView) -> frozenset[str]:
    return frozenset(problem.problem_id for problem in run.folder.problems())


def manifest_groups(run: RunView) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the manifest in groups of (name, value) pairs."""
    manifest = run.manifest
    whole = {
        "status": manifest.status,
        "started": manifest.started,
        "finished": manifest.finished,
        "seed": manifest.seed,
        "protocol hash": manifest.protocol_hash,
        "folder": str(PurePath(run.folder.path.resolve().name)),
    }
    groups = [
        ("Run", whole),
        ("Protocol", manifest.protocol),
        ("Model", manifest.model),
        ("Benchmarks", manifest.benchmarks),
        ("Environment", manifest.environment),
        ("Rows", manifest.counts),
    ]
    return [
        (title, [(short(name, 80), _value(text)) for name, text in flatten(group)]) for title, group in groups if group
    ]


def _value(text: str) -> str:
    return text if len(text) <= 600 else text[:600] + "…"
