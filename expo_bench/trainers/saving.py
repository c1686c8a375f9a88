"""Checkpoints that cannot be written, as an error of one line."""

import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from expo_bench.engines.memory import is_out_of_memory
from expo_bench.storage.row_files import writing


class SavesCheckpoints:
    """For a trainer of transformers, before its class."""

    def _save_checkpoint(self, *given: Any, **named: Any) -> None:
        trainer: Any = self
        with writing(Path(trainer.args.output_dir)):
            try:
                super()._save_checkpoint(*given, **named)  # type: ignore[misc]
            # torch and safetensors do not pass on the system's own exception
            except (RuntimeError, SafetensorError) as error:
                if is_out_of_memory(error):
                    raise
                free = shutil.disk_usage(trainer.args.output_dir).free >> 20
                raise OSError(f"{str(error).partition(chr(10))[0]} ({free} MiB free there)") from error
