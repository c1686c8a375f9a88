"""`expo-bench` within this process: one that starts anew spends most of its time on imports."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*words: str, folder: Path) -> Done:
    """Run a command in a folder; what is no UserError comes through, as it would be a traceback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = CliRunner().invoke(app, list(words), prog_name="expo-bench")
    if isinstance(found.exception, UserError):
        return Done(returncode=2, stdout=found.stdout, stderr=f"{found.stderr}expo-bench: {found.exception}\n")
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Done(returncode=found.exit_code, stdout=found.stdout, stderr=found.stderr)
