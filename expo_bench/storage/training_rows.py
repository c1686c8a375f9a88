"""What a training writes while it runs, for whoever looks at it: its log, and its rollouts as columns."""

import json
from pathlib import Path
from typing import Any

import yaml

from expo_bench.storage.row_index import MISSING, Kind, RowIndex

SOURCES = ("own", "self_explanation", "expert")
NUMBERS = ("step", "group", "source", "tokens", "logprob", "reward", "weight", "length")


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return what the trainer logged, an object a logging step; what cannot be read yet is left out."""
    path = folder / "log.jsonl"
    found = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
            found.append({str(key): float(value) for key, value in row.items() if isinstance(value, int | float)})
        except (ValueError, AttributeError, RecursionError):
            continue
    return [row for row in found if "step" in row]


def read_recipe(folder: Path) -> dict[str, Any]:
    """Return the recipe as it stands there; nothing where there is none or it cannot be read."""
    try:
        found = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def rollout_index(folder: Path) -> RowIndex:
    """Return the rollouts of a training as columns NUMBERS; NaN where a number is not known."""
    return RowIndex(folder / "rollouts.jsonl", _ROLLOUTS)


def _of_object(row: dict[str, Any]) -> tuple[float, ...]:
    source = SOURCES.index(row["source"]) if row["source"] in SOURCES else MISSING
    numbers = (row.get(name) for name in ("sum_logprob", "reward", "weight"))
    known = (float("nan") if number is None else float(number) for number in numbers)
    return (row["step"], row["group"], source, row["n_tokens"], *known, row.get("finish_reason") == "length")


_ROLLOUTS = Kind(head=None, of_object=_of_object, names=NUMBERS)
