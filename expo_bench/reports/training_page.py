"""A single training: reward, groups without reward, likelihood by source, lengths, entropy, checkpoints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expo_bench.errors import UserError
from expo_bench.reports.figures.panels import Panel, Series, panel
from expo_bench.reports.pages import flatten, page_link, render, study_above, trusted
from expo_bench.reports.tables import TARGETS, Cell, MetricTable, Row, Table, metric_cell
from expo_bench.reports.text import short
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.row_index import RowIndex
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.training_folder import SOURCES, TrainingFolder

_SOURCE_WORDS = ("own", "self-explanation", "expert")
_LOGGED = {
    "entropy": "Entropy, nats a token",
    "loss": "Loss",
    "kl": "KL to the reference, nats",
    "grad_norm": "Gradient norm",
    "learning_rate": "Learning rate",
}
Floats = NDArray[np.float64]


def training_page(folder: Path, out: Path) -> Path:
    """Write the page of one training, finished or not.

    Raises:
        UserError: the folder holds no training, or a damaged row.
    """
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"{folder} is no training: it has no recipe.yaml")
    index = TrainingFolder(folder).rollout_index()
    while not index.refresh(60):
        continue
    own = [(name, folder / "evaluations" / place / "report.html") for name, place in _checkpoints(folder)]
    links = {
        "study": study_above(out.parent) if out.resolve().parent == folder.resolve() else "",
        "reports": [(name, page_link(page, out.parent)) for name, page in own if page.is_file()],
    }
    title = short(folder.resolve().name, 80)
    write_atomically(out, render("training.html.j2", {"title": title, **links, **training_view(folder, index)}))
    return out


def _checkpoints(folder: Path) -> list[tuple[str, str]]:
    return [(_step_words(step), f"checkpoint-{step}") for step, _ in evaluations(folder)]


def training_view(folder: Path, index: RowIndex) -> dict[str, Any]:
    """Return what the templates show of a training, as far as its files were read."""
    training = TrainingFolder(folder)
    recipe, log = training.recipe(), training.log()
    columns = index.columns
    steps = [row["step"] for row in log]
    wanted = recipe.get("steps")
    done = int(max([*steps, *(columns["step"] + 1)], default=0)) if len(index) else int(max(steps, default=0))
    panels = [*_rollout_panels(columns), *_log_panels(log)]
    evaluated = evaluations(folder)
    pass_1 = [one for one in evaluated if one[1] is not None]
    solved = panel(
        "Evaluated, avg@n, %",
        [Series(name="avg@n", x=[step for step, _ in pass_1], y=[100 * (m.value or 0.0) for _, m in pass_1 if m])],
        low=0, high=100,
    )  # fmt: skip
    told = f"{recipe.get('method', 'Training')} of {short(str(recipe.get('model', 'a model')), 80)}"
    told += f" on {short(str(recipe.get('benchmark', 'a benchmark')), 60)}: {done:,}"
    return {
        "lead": f"{told} of {wanted:,} steps." if isinstance(wanted, int) else f"{told} steps.",
        "panels": [as_shown(one) for one in (solved, *panels) if one],
        "checkpoints": checkpoint_table(evaluated),
        "recipe": flatten(recipe),
        "steps": sorted({int(step) for step in columns["step"]}),
        "share": index.share,
    }


def as_shown(one: Panel) -> dict[str, Any]:
    """Return a chart as the templates take it."""
    keys = [(name, trusted(sample)) for name, sample in one.legend]
    return {"title": one.title, "svg": trusted(one.svg), "legend": keys}


def _rollout_panels(columns: Mapping[str, Floats]) -> list[Panel | None]:
    if not len(columns["step"]):
        return []
    step, group, source = (columns[name].astype(np.int64) for name in ("step", "group", "source"))
    own = source == 0
    steps = np.unique(step)
    reward = columns["reward"]
    told = own & ~np.isnan(reward)
    # a group is a step's problem; it has a reward where one of its own rollouts has one
    groups, place = np.unique(step[own] << 24 | group[own], return_inverse=True)
    best = np.zeros(len(groups))
    np.maximum.at(best, place, np.nan_to_num(reward[own]))
    empty = _means(groups >> 24, (best <= 0).astype(np.float64), steps)
    lines = {"logprob": [], "tokens": []}  # type: dict[str, list[Series]]
    for number, word in enumerate(_SOURCE_WORDS[: len(SOURCES)]):
        chosen = source == number
        rates = columns["logprob"] / np.maximum(columns["tokens"], 1)
        scored = chosen & ~np.isnan(rates)
        lines["logprob"].append(Series(name=word, x=steps, y=_means(step[scored], rates[scored], steps), colour=number))
        lines["tokens"].append(
            Series(name=word, x=steps, y=_means(step[chosen], columns["tokens"][chosen], steps), colour=number)
        )
    cut = _means(step[own], columns["length"][own], steps)
    return [
        panel("Mean reward, own rollouts", [Series(name="reward", x=steps, y=_means(step[told], reward[told], steps))],
              low=0),
        panel("Groups without a reward, %", [Series(name="groups", x=steps, y=100 * empty)], low=0, high=100),
        panel("Log p a token by source, nats", lines["logprob"]),
        panel("Tokens a chain by source", lines["tokens"], low=0),
        panel("Own rollouts cut off, %", [Series(name="cut off", x=steps, y=100 * cut)], low=0, high=100),
    ]  # fmt: skip


def _means(at: NDArray[Any], values: Floats, steps: NDArray[Any]) -> Floats:
    place = np.searchsorted(steps, at)
    total = np.bincount(place, weights=values, minlength=len(steps))
    count = np.bincount(place, minlength=len(steps))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _log_panels(log: Sequence[Mapping[str, float]]) -> list[Panel | None]:
    found = []
    for name, title in _LOGGED.items():
        rows = [row for row in log if name in row]
        found.append(panel(title, [Series(name=name, x=[row["step"] for row in rows], y=[row[name] for row in rows])]))
    return found


def evaluations(folder: Path) -> list[tuple[int, Any]]:
    """Return step and headline metric of each checkpoint's evaluation, in order; None where it is not finished."""
    found = []
    for path in (folder / "evaluations").glob("checkpoint-*"):
        step = path.name.rpartition("-")[2]
        if step.isdigit():
            try:
                metrics = MetricTable(RunFolder(path).metrics())
            except UserError:
                continue
            found.append((int(step), metrics.get(metrics.average)))
    return sorted(found, key=lambda one: one[0])


def _step_words(step: int) -> str:
    return f"step {step}" if step else "before training"


def checkpoint_table(evaluated: Sequence[tuple[int, Any]]) -> Table | None:
    """Return the evaluations as a table; None without any."""
    rows = []
    for step, metric in evaluated:
        counts = Cell(text="–" if metric is None else f"{metric.n_problems:,}")
        rows.append(Row(label=_step_words(step), cells=[metric_cell(metric), counts], depth=1))
    caption = f"Evaluations of the checkpoints: percent of right samples. {TARGETS}"
    return Table(caption=caption, head=["", "avg@n", "problems"], rows=rows) if rows else None
