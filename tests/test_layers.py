"""Imports go downward only; what must stay light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import expo_bench

ROOT = Path(expo_bench.__file__).parent
CONTRIBUTING = ROOT.parent / "CONTRIBUTING.md"
# from the top floor down: a room may import those that stand after it
ROOMS = [
    "__main__",
    "commands",
    "costs",
    "studies",
    "frames",
    "trainers",
    "likelihood",
    "evaluation",
    "reports",
    "thoughts",
    "importing",
    "ledger",
    "problems",
    "engines",
    "grading",
    "config",
    "prompts",
    "settings",
    "storage",
    "extrapolation",
    "intervals",
    "stats",
    "errors",
    "rows",
]
# what stands below and may not be touched all the same
NEVER = {
    "likelihood": {"reports", "ledger", "problems"},
    "evaluation": {"ledger", "importing"},
    "reports": {"ledger", "problems", "importing", "config", "stats", "intervals", "extrapolation"},
    "thoughts": {"ledger", "importing", "config"},
    "ledger": {"problems", "engines", "config", "prompts"},
    "problems": {"engines", "config", "prompts", "storage"},
    "engines": {"grading", "storage"},
}


def _files() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem != "__init__")


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("expo_bench."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "expo_bench":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("expo_bench.")}
    return found


def test_the_house_is_small_and_every_room_has_a_floor() -> None:
    files = {path.stem for path in ROOT.glob("*.py")}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert len(files) <= 11
    assert len(folders) <= 15
    assert (files | folders) - {"__init__", "assets"} == set(ROOMS)


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    own = _room(path)
    allowed = set(ROOMS[ROOMS.index(own) :]) - NEVER.get(own, set())
    assert _imports(path) <= allowed


def test_every_room_says_what_it_is_for() -> None:
    for path in ROOT.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_contributing_shows_the_house_as_it_is() -> None:
    page = CONTRIBUTING.read_text(encoding="utf-8")
    tree = page.split("```text\n")[1].split("```")[0].splitlines()
    shown = [line.split()[0] for line in tree if line[:1].isalpha() or line[:1] == "_"]
    assert [name.rstrip("/").removesuffix(".py") for name in shown] == ROOMS
    inside = {line.split()[0].rstrip("/") for line in tree if line.startswith("  ")}
    nested = {path.name for path in ROOT.glob("*/*/") if path.is_dir() and path.name != "__pycache__"}
    assert inside == nested - {path.name for path in ROOT.glob("assets/*/")}


def test_only_one_module_imports_each_gate() -> None:
    # rows come from the hub in one place, and are handed to trainers in another
    allowed = {
        "latex2sympy2_extended": {"formulas.py"},
        "math_verify": {"rivals.py"},
        "datasets": {"hub.py", "data.py"},
    }
    gates = {name: set() for name in allowed}
    for path in _files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.split(".")[0] in gates:
                    gates[name.split(".")[0]].add(path.name)
    assert gates == allowed


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("expo_bench", "torch transformers vllm pandas datasets pydantic scipy"),
        ("expo_bench.commands.cli", "torch transformers vllm pandas datasets pydantic numpy math_verify matplotlib"),
        ("expo_bench.problems", "torch transformers vllm pandas datasets"),
        ("expo_bench.stats", "torch transformers vllm pandas"),
        ("expo_bench.evaluation.metrics", "torch transformers vllm pandas"),
        ("expo_bench.reports.reporting", "torch transformers vllm pandas"),
        ("expo_bench.grading.stage", "torch transformers vllm pandas"),
        ("expo_bench.importing.importing", "torch transformers vllm pandas datasets pyarrow"),
        ("expo_bench.frames", "torch transformers vllm pandas datasets pyarrow"),
        ("expo_bench.likelihood.pipeline", "torch transformers vllm pandas datasets pyarrow"),
    ],
)
def test_imports_stay_light(module: str, forbidden: str) -> None:
    code = f"import sys, {module}; print(*(set(sys.argv[1].split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, forbidden], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
