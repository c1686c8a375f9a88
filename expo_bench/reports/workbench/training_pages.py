"""Trainings and studies as they go, and the rollouts of any step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expo_bench.reports.figures.panels import Series, panel
from expo_bench.reports.likelihood_views import number
from expo_bench.reports.result_tables import STATUS_WORDS
from expo_bench.reports.text import excerpt, short
from expo_bench.reports.training_page import as_shown, evaluations, training_view
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.index_page import index_row
from expo_bench.reports.workbench.run_page import crumbs_of
from expo_bench.reports.workbench.shelf import READ_SECONDS, Shelf
from expo_bench.storage.training_folder import TrainingFolder

LIVE_SECONDS = 3
_TEXT_LIMIT = 20_000
_MOST_ROLLOUTS = 2000


def training_context(shelf: Shelf, entry: Entry) -> dict[str, Any]:
    """Return what the template of a training shows."""
    index = shelf.rollouts(entry, READ_SECONDS)
    runs = [one for one in shelf.below(entry, "run") if one.path.parent.name == "evaluations"]
    compared = [one.address for one in runs if one.headline is not None]
    view = training_view(entry.path, index)
    return {
        **view,
        "title": entry.name,
        "crumbs": crumbs_of(shelf, entry),
        "tabs": [],
        "tab": "",
        "entry": entry,
        "live": LIVE_SECONDS if entry.state == "running" or index.share < 1 else 0,
        "runs": [index_row(one) for one in runs],
        "compare": shelf.links.compare(compared[:12]) if len(compared) > 1 else "",
        "report": f"{entry.address}/report.html" if (entry.path / "report.html").is_file() else "",
    }


def rollouts_context(shelf: Shelf, entry: Entry, step: int) -> dict[str, Any] | None:
    """Return what the template of one step's rollouts shows; None where the step has none."""
    index = shelf.rollouts(entry, READ_SECONDS)
    steps = sorted({int(one) for one in index.columns["step"]})
    places = np.flatnonzero(index.columns["step"] == step)[:_MOST_ROLLOUTS].tolist()
    if not places:
        return None
    groups: dict[int, dict[str, Any]] = {}
    for row in index.rows(places):
        level = "" if row.get("level") is None else f", level {row['level']}"
        title = f"{short(row['problem_id'], 60)}{level}"
        groups.setdefault(row["group"], {"title": title, "rows": []})["rows"].append(_rollout(row))
    at = steps.index(step)
    near = [
        (f"Step {one}", f"{entry.address}/rollouts/{one}.html") for one in steps[max(at - 1, 0) : at + 2] if one != step
    ]
    right = sum(row["outcome"] == "correct" for group in groups.values() for row in group["rows"])
    crumbs = [*crumbs_of(shelf, entry, "step"), (f"Step {step}", "")]
    crumbs = [*crumbs[:-2], crumbs[-1]]
    return {
        "title": f"Rollouts of step {step}",
        "crumbs": crumbs,
        "tabs": [],
        "tab": "",
        "live": 0,
        "lead": f"{len(places):,} chains of {len(groups):,} problems; {right:,} are right.",
        "groups": [groups[group] for group in sorted(groups)],
        "neighbours": near,
    }


def _rollout(row: dict[str, Any]) -> dict[str, Any]:
    status = str(row.get("status"))
    reward = row.get("reward")
    outcome = "ungraded" if status != "graded" else "correct" if reward else "wrong"
    told = [str(row["source"]).replace("_", "-"), f"{row['n_tokens']:,} tokens"]
    for name, words in (("reward", "reward"), ("advantage", "advantage"), ("weight", "weight")):
        if row.get(name) is not None:
            told.append(f"{words} {row[name]:.3g}".replace("-", "\N{MINUS SIGN}"))
    if row.get("sum_logprob") is not None and row["n_tokens"]:
        told.append(f"log p a token {number(row['sum_logprob'] / row['n_tokens'])}")
    return {
        "outcome": outcome,
        "verdict": outcome if outcome != "ungraded" else STATUS_WORDS.get(status, short(status, 40)),
        "meta": " · ".join(told),
        "text": excerpt(str(row["text"]), _TEXT_LIMIT),
    }


def study_context(shelf: Shelf, entry: Entry) -> dict[str, Any]:
    """Return what the template of a study shows: its stages, and each arm and seed as it goes."""
    trainings = shelf.below(entry, "training")
    arms = list(dict.fromkeys(_arm(entry.path, one.path) for one in trainings))
    lines: dict[str, list[Series]] = {"avg@n": []}
    for one in trainings:
        found = [(step, metric) for step, metric in evaluations(one.path) if metric is not None]
        name, place = _arm(entry.path, one.path), arms.index(_arm(entry.path, one.path))
        xs, ys = [step for step, _ in found], [100 * (metric.value or 0.0) for _, metric in found]
        lines["avg@n"].append(Series(name=f"{name}, {one.path.name}", x=xs, y=ys, colour=place))
    rows, ends = [], []
    for one in trainings:
        row, end = _arm_row(shelf, entry, one)
        rows.append(row)
        ends += end
    drawn = panel("Right samples by step, avg@n, %", lines["avg@n"], low=0, high=100)
    states = [one.state for one in trainings]
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return {
        "title": entry.name,
        "crumbs": crumbs_of(shelf, entry),
        "tabs": [],
        "tab": "",
        "entry": entry,
        "live": LIVE_SECONDS if entry.state == "running" else 0,
        "lead": f"{len(trainings)} trainings: {told}." if trainings else "The trainings are not in this folder.",
        "stages": _stages(shelf, entry, trainings),
        "panels": [as_shown(drawn)] if drawn else [],
        "arms": rows,
        "compare": shelf.links.compare(list(dict.fromkeys(ends))[:12]) if len(ends) > 1 else "",
    }


def _arm(study: Path, training: Path) -> str:
    return training.relative_to(study).parts[0]


def _arm_row(shelf: Shelf, study: Entry, one: Entry) -> tuple[dict[str, Any], list[str]]:
    runs = [
        run for run in shelf.below(one, "run") if run.headline is not None and run.path.parent.name == "evaluations"
    ]
    runs.sort(key=lambda run: _step(run.path))
    last = runs[-1] if runs else None
    shown = index_row(last) if last else None
    steps = TrainingFolder(one.path).recipe().get("steps", "–")
    row = {
        "name": f"{_arm(study.path, one.path)}, {one.path.name}",
        "link": f"{one.address}/index.html",
        "state": one.state,
        "steps": steps,
        "at": _step(last.path) if last else "–",
        "headline": shown.headline if shown else None,
        "solved": shown.solved if shown else None,
    }
    return row, [run.address for run in (*runs[:1], *runs[-1:])]


def _step(path: Path) -> int:
    text = path.name.rpartition("-")[2]
    return int(text) if text.isdigit() else 0


def _stages(shelf: Shelf, entry: Entry, trainings: Sequence[Entry]) -> list[tuple[str, str, str]]:
    candidates = next((one for one in shelf.below(entry, "run") if one.path.name == "candidates"), None)
    ledger = next(iter(shelf.below(entry, "ledger")), None) or shelf.entry(f"{entry.address}/ledger", "ledger")
    done = sum(one.state == "finished" for one in trainings)
    report = (entry.path / "report.html").is_file()
    return [
        (
            "Candidates",
            candidates.state if candidates else "none",
            f"{candidates.address}/index.html" if candidates else "",
        ),
        ("Trainings", f"{done} of {len(trainings)} finished", ""),
        ("Ledger", "written" if ledger else "not yet", f"{ledger.address}/index.html" if ledger else ""),
        ("Report", "written" if report else "not yet", f"{entry.address}/report.html" if report else ""),
    ]
