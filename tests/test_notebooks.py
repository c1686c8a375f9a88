"""Every notebook's code runs from top to bottom in a fresh process, and is committed without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reports.chain_runs import byte_tokenizer, make_chains_run

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def code(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def execute(source: str, folder: Path) -> str:
    """Run the cells as one script; worker processes that start afresh must not run it again."""
    folder.mkdir()
    indented = "".join(f"    {line}\n" for line in source.splitlines())
    (folder / "cells.py").write_text(f'if __name__ == "__main__":\n{indented}', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "cells.py"],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_likelihood_notebook_makes_a_run_of_the_micro_world(tmp_path: Path) -> None:
    printed = execute(code(NOTEBOOKS / "02_likelihood.ipynb"), tmp_path / "notebooks")
    for expected in ("micro", "level=1", "level=5", "expert", "self-expl.", "own wrong"):
        assert expected in printed
    made = tmp_path / "results/likelihood-micro"
    assert "Token by token" in (made / "report.html").read_text(encoding="utf-8")
    assert sorted(figure.stem for figure in (made / "figures").iterdir()) == ["likelihood_by_source", "two_properties"]


def test_the_likelihood_notebook_shows_another_run_by_one_line(tmp_path: Path) -> None:
    run = make_chains_run(tmp_path / "mine", byte_tokenizer(tmp_path / "tokenizer"), policies=("a", "b"))
    before = run.candidates_path.read_bytes()
    line = 'RUN = Path("../results/likelihood-micro")'
    source = code(NOTEBOOKS / "02_likelihood.ipynb")
    assert source.count(line) == 1
    printed = execute(source.replace(line, 'RUN = Path("../mine")'), tmp_path / "notebooks")
    assert "level=4" in printed
    assert run.candidates_path.read_bytes() == before
    assert (run.path / "figures" / "drift.svg").is_file()
