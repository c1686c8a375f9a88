"""What the sample files of another harness hold, and what their names tell."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from expo_bench.problems.files import benchmark_name
from expo_bench.rows import Problem

_PART = r"([-_](default|main|test|nofigures|agg\d*|(AIME(20)?\d\d[-_])?I{1,2}|Level[-_ ]?[1-5]))?"
"""What harnesses put behind a benchmark's name: a subset, a split, a variant of the task with the same problems."""
_TASKS = {
    "math500": rf"(hendrycks_|minerva_)?math[-_]?500{_PART}",
    "math": r"(hendrycks_|minerva_)math(_\w+)?|math(:\w+|_cot:\w+)",
    "gsm8k": rf"gsm8k(_cot\w*|_leaderboard)?{_PART}",
    "aime24": rf"aime[-_]?(20)?24{_PART}",
    "aime25": rf"aime[-_]?(20)?25{_PART}",
    "aime26": rf"aime[-_]?(20)?26{_PART}",
    "amc23": rf"amc[-_]?(20)?23{_PART}",
    "hmmt-feb25": rf"hmmt[-_]?feb[-_]?(20)?25{_PART}",
    "hmmt-nov25": rf"hmmt[-_]?nov[-_]?(20)?25{_PART}",
    "hmmt-feb26": rf"hmmt[-_]?feb[-_]?(20)?26{_PART}",
    "brumo25": rf"brumo[-_]?(20)?25{_PART}",
    "cmimc25": rf"cmimc[-_]?(20)?25{_PART}",
    "olympiadbench": rf"olympiad[-_]?bench{_PART}",
    "beyondaime": rf"beyond[-_]?aime{_PART}",
}
_SEED = re.compile(r"[-_.](?:rs|seed|run)[-_]?\d+$")
_MODEL_BEFORE_TASK = "pretrained"
STAMP = re.compile(r"(?:samples|details)_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\d)T(?P<time>\d\d-\d\d-\d\d(?:\.\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The completions of one problem in one file."""

    problem: Problem
    prompt: str
    """As the policy saw it."""
    texts: list[str | None]
    """None where the file has no completion, though it has a row for it."""
    n_tokens: list[int] | None = None
    limit: int | None = None
    """Tokens at which a completion was cut off."""
    scores: list[bool | None] | None = None
    """The file's own verdict on each completion, where it has any."""
    cut_off: list[bool] | None = None
    """Whether the file says of each completion that a limit ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFile:
    """What one file holds."""

    path: Path
    task: str
    benchmark: str
    found: list[Texts]
    sampling: dict[str, Any]
    model: dict[str, Any]
    seed: int | None = None
    versions: dict[str, Any] = field(default_factory=dict)
    mapping: dict[str, Any] | None = None
    """How it was read, where a preset or the user declared that."""
    warnings: list[str] = field(default_factory=list)


def moment(path: Path) -> str:
    """Return when the file was written, in the local time of its writer; without such a name, now."""
    if stamp := STAMP.fullmatch(path.stem):
        return f"{stamp['date']}T{stamp['time'].replace('-', ':')}"
    return datetime.now(UTC).isoformat(timespec="seconds")


def task_of(path: Path) -> str:
    """Return the task in a file's name: samples_TASK_DATE, details_TASK|SHOTS_DATE or details_SUITE|TASK|SHOTS_DATE."""
    stamp = STAMP.fullmatch(path.stem)
    task = stamp["task"] if stamp else _SEED.sub("", benchmark_name(path))
    # on disks that know no "|", lighteval wrote two underscores
    words = re.split(r"\||__", task) if path.stem.startswith("details_") else task.split("|")
    return words[1] if len(words) > 2 else words[0]


def benchmark_of(task: str, named: str | None) -> str:
    """Return the benchmark that the user named, or that a task of this name is of."""
    if named is not None:
        return named
    if task.startswith(_MODEL_BEFORE_TASK):  # lm-eval 0.4.0 to 0.4.2 wrote model arguments and task into one name
        parts = task.split("_")
        tails = ["_".join(parts[at:]) for at in range(1, len(parts))]
        task = next((tail for tail in tails if _known(tail)), task)
    return _known(task) or re.sub(r"[^\w.-]+", "-", task)


def _known(task: str) -> str | None:
    return next((name for name, tasks in _TASKS.items() if re.fullmatch(tasks, task, re.IGNORECASE)), None)


def seed_of(value: Any) -> int | None:
    """Return a seed, where a file tells it."""
    return value if isinstance(value, int) else None
