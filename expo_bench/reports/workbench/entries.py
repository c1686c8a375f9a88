"""What lies in a folder: runs, trainings, studies and ledgers, each with its state."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from expo_bench.errors import UserError
from expo_bench.reports.run_views import model_name
from expo_bench.reports.tables import MetricTable
from expo_bench.reports.text import short
from expo_bench.rows import Manifest, Metric
from expo_bench.storage.locking import being_written
from expo_bench.storage.run_folder import RunFolder

Kind = Literal["run", "training", "study", "ledger"]
State = Literal["running", "stopped", "finished", "damaged"]
_MARKS: dict[str, Kind] = {
    "manifest.json": "run", "recipe.yaml": "training", "study.yaml": "study", "ledger.json": "ledger",
}  # fmt: skip
_LEFT_OUT = {"figures", "checkpoints", "likelihoods", "grades", "dataset"}
_DEEPEST = 8
_FRESH_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One folder that has a page."""

    kind: Kind
    path: Path
    address: str
    """Its place below the folder that is shown, with slashes, ready for a link."""
    name: str
    state: State
    reason: str = ""
    """Of damage."""
    changed: float = 0.0
    """When something in it was last written, in seconds since 1970."""
    manifest: Manifest | None = None
    headline: Metric | None = None
    solved: Metric | None = None
    """pass@k for the largest k."""

    @property
    def model(self) -> str:
        """The model's name, or nothing."""
        return model_name(self.manifest) if self.manifest else ""

    @property
    def benchmarks(self) -> str:
        """The benchmarks' names, or nothing."""
        return " + ".join(short(name, 40) for name in self.manifest.benchmarks) if self.manifest else ""


def find(root: Path) -> list[Entry]:
    """Return the entries at or below a folder, those that were written last first."""
    base = root.parent if _kind(set(os.listdir(root))) else root
    found = [_entry(kind, path, path.relative_to(base)) for kind, path in _folders(root)]
    return sorted(found, key=lambda entry: (-entry.changed, entry.address))


def _folders(root: Path) -> Iterator[tuple[Kind, Path]]:
    for folder, inside, files in os.walk(root):
        path = Path(folder)
        if len(path.relative_to(root).parts) >= _DEEPEST:
            inside.clear()
        inside[:] = sorted(name for name in inside if not name.startswith(".") and name not in _LEFT_OUT)
        if kind := _kind(set(files)):
            yield kind, path
            if kind == "study" and "ledger.json" in files:
                yield "ledger", path


def _kind(names: set[str]) -> Kind | None:
    # a study's folder may hold its ledger's files, a training's never those of a run
    order = ("study.yaml", "recipe.yaml", "manifest.json", "ledger.json")
    return next((_MARKS[mark] for mark in order if mark in names), None)


def _entry(kind: Kind, path: Path, place: Path) -> Entry:
    address = "/".join(quote(part, safe="") for part in place.parts)
    if kind == "ledger" and (path / "study.yaml").is_file():
        address += "/ledger"
    return (_run if kind == "run" else _other)(kind, path, address, place)


def _run(kind: Kind, path: Path, address: str, place: Path) -> Entry:
    run = RunFolder(path)
    changed = _changed(path)
    try:
        manifest = run.read_manifest()
        metrics = MetricTable(run.metrics())
    except UserError as error:
        return Entry(
            kind=kind, path=path, address=address, name=str(place), state="damaged", reason=str(error), changed=changed
        )
    ks = metrics.pass_ks
    return Entry(
        kind=kind,
        path=path,
        address=address,
        name=str(place),
        state="finished" if manifest.status == "finished" else written_or_stopped(path),
        changed=changed,
        manifest=manifest,
        headline=metrics.get(metrics.average),
        solved=metrics.get(ks[max(ks)]) if ks and max(ks) > 1 else None,
    )


def _other(kind: Kind, path: Path, address: str, place: Path) -> Entry:
    done = {"training": path / "training.json", "study": path / "curves.json", "ledger": path / "ledger.json"}[kind]
    written = written_or_stopped(path)
    if kind == "study" and any(written_or_stopped(one) == "running" for one in path.glob("*/seed-*")):
        written = "running"
    state: State = "finished" if done.is_file() and (kind == "ledger" or written == "stopped") else written
    return Entry(kind=kind, path=path, address=address, name=str(place), state=state, changed=_changed(path))


def written_or_stopped(path: Path) -> State:
    """Tell whether somebody writes into a folder: its lock is held, or, on another machine, a file is fresh."""
    if being_written(path):
        return "running"
    # without a lock to look at, only the files tell
    fresh = not Path("/proc/locks").exists() and time.time() - _changed(path) < _FRESH_SECONDS
    return "running" if fresh else "stopped"


def _changed(path: Path) -> float:
    with os.scandir(path) as found:
        return max((one.stat().st_mtime for one in found if one.is_file() and one.name != ".lock"), default=0.0)
