"""The folder of a training run: paths, what is appended, and which checkpoint is whole."""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError
from expo_bench.rows import Rollout
from expo_bench.storage.locking import Lock
from expo_bench.storage.row_files import encode, read_rows, write_atomically
from expo_bench.storage.row_index import MISSING, Kind, RowIndex
from expo_bench.storage.run_folder import RunFolder, readable_yaml

SOURCES = ("own", "self_explanation", "expert")
NUMBERS = ("step", "group", "source", "tokens", "logprob", "reward", "weight", "length")


class TrainingFolder:
    """One training run on disk; whoever writes holds `lock()`.

    recipe.yaml, training.json, rollouts.jsonl, log.jsonl, checkpoints/checkpoint-N, evaluations/checkpoint-N (run
    folders of the harness), and for the methods that are not online, rounds/N (run folders of candidates; of still,
    with a version of its thoughts in rounds/N/dataset).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.recipe_path = self.path / "recipe.yaml"
        self.record_path = self.path / "training.json"
        self.rollouts_path = self.path / "rollouts.jsonl"
        self.log_path = self.path / "log.jsonl"
        self.queue_path = self.path / "evaluations.sh"
        self.checkpoints_path = self.path / "checkpoints"

    def lock(self) -> Lock:
        """Take the folder for this process; see `Lock`."""
        return Lock(self.path)

    def evaluation(self, step: int) -> RunFolder:
        """Return the run folder in which the checkpoint of a step is evaluated."""
        return RunFolder(self.path / "evaluations" / f"checkpoint-{step}")

    def round(self, number: int) -> RunFolder:
        """Return the run folder of the candidates that a round learns from."""
        return RunFolder(self.path / "rounds" / str(number))

    def checkpoint(self, step: int) -> Path:
        """Return the folder of a step's checkpoint: a model that loads as it is."""
        return self.checkpoints_path / f"checkpoint-{step}"

    def checkpoints(self) -> list[int]:
        """Return the steps of the checkpoints that are whole, in order."""
        return sorted(_step(path) for path in self.checkpoints_path.glob("checkpoint-*") if _is_whole(path))

    def drop_torn_checkpoints(self) -> list[str]:
        """Delete checkpoints that a kill left unfinished, and return their names."""
        torn = [path for path in self.checkpoints_path.glob("checkpoint-*") if not _is_whole(path)]
        for path in torn:
            shutil.rmtree(path)
        return [path.name for path in torn]

    def rollouts(self) -> Iterator[Rollout]:
        """Yield the rollouts, in the order of their steps, and one whose line stands twice once."""
        seen = set()
        for row in read_rows(self.rollouts_path, Rollout):
            key = (row.step, row.group, row.source, row.sample_index)
            if key not in seen:
                seen.add(key)
                yield row

    def rollout_index(self) -> RowIndex:
        """Return the rollouts as columns NUMBERS, whether or not the run goes on; NaN where a number is not known."""
        return RowIndex(self.rollouts_path, _ROLLOUTS)

    def recipe(self) -> dict[str, Any]:
        """Return the recipe as it stands there; nothing where there is none or it cannot be read."""
        return readable_yaml(self.recipe_path)

    def cut_rollouts(self, step: int) -> None:
        """Drop the rollouts of `step` and later ones, which are about to be drawn again."""
        if self.rollouts_path.is_file():
            kept = b"".join(encode(row) for row in self.rollouts() if row.step < step)
            write_atomically(self.rollouts_path, kept)

    def put_rollouts(self, step: int, rows: Iterable[Rollout]) -> None:
        """Write the rollouts of a step in place of those of that step and of later ones."""
        kept = [row for row in self.rollouts() if row.step < step]
        write_atomically(self.rollouts_path, b"".join(encode(row) for row in [*kept, *rows]))

    def cut_log(self, step: int) -> None:
        """Drop the lines of the log that stand after `step` steps."""
        if self.log_path.is_file():
            kept = (line for line, entry in self._log_lines().items() if entry["step"] <= step)
            write_atomically(self.log_path, b"".join(kept))

    def log(self) -> list[dict[str, float]]:
        """Return the numbers that the trainer logged, one object a logging step; a torn last line is left out.

        Raises:
            UserError: a line that is whole is none of the log.
        """
        return list(self._log_lines().values())

    def _log_lines(self) -> dict[bytes, dict[str, float]]:
        lines = self.log_path.read_bytes().splitlines(keepends=True) if self.log_path.is_file() else []
        found: dict[bytes, dict[str, float]] = {}
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                values = json.loads(line).items()
                found[line] = {name: value for name, value in values if isinstance(value, int | float)}
                found[line]["step"]
            except (ValueError, AttributeError, KeyError, RecursionError) as error:
                raise UserError(
                    f"{self.log_path}:{number}: not a line of a trainer's log; mend or delete the line"
                ) from error
        return found

    def begin(self, recipe: str) -> None:
        """Write the resolved recipe of a new run.

        Raises:
            UserError: the folder holds something else.
        """
        if self.path.is_dir() and not all(path.name.startswith(".") for path in self.path.iterdir()):
            raise UserError(f"{self.path} is not empty and no training run; choose another folder with -o")
        write_atomically(self.recipe_path, recipe)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _is_whole(path: Path) -> bool:
    """Tell whether a checkpoint was written to its end: the trainer's state comes last."""
    try:
        json.loads((path / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _of_object(row: dict[str, Any]) -> tuple[float, ...]:
    source = SOURCES.index(row["source"]) if row["source"] in SOURCES else MISSING
    numbers = (row.get(name) for name in ("sum_logprob", "reward", "weight"))
    known = (float("nan") if number is None else float(number) for number in numbers)
    return (row["step"], row["group"], source, row["n_tokens"], *known, row.get("finish_reason") == "length")


_ROLLOUTS = Kind(head=None, of_object=_of_object, names=NUMBERS)
