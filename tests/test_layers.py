"""Imports go downward only; what must stay light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import expo_bench

ROOT = Path(expo_bench.__file__).parent
LAYERS = [
    {"errors", "rows"},
    {
        "boxed",
        "chains",
        "config",
        "environment",
        "prompts",
        "stats",
        "row_files",
        "store",
        "comparisons",
        "answers",
        "equivalence",
        "extraction",
        "serving",
        "token_arrays",
        "workers",
    },
    {"problems", "engines"},
    {"thoughts"},
    {
        "sampling",
        "grading",
        "metrics",
        "problem_table",
        "reporting",
        "reports",
        "drawing",
        "explanations",
        "candidates",
        "likelihoods",
        "two_property",
        "compare",
        "ledgers",
    },
    {"planning", "evaluation", "measuring", "probing", "costs", "importing", "foreign_samples", "lighteval_details"},
    {"trainers"},
    {
        "studies",
        "learning_curves",
        "study_tables",
        "study_report",
        "study_ledger",
        "study_stages",
        "study_costs",
        "frames",
    },
    {
        "progress",
        "options",
        "dry_runs",
        "cli",
        "import_command",
        "thoughts_command",
        "likelihood_commands",
        "train_command",
        "study_command",
        "compare_command",
    },
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# a layer's modules may use each other, but stages meet on disk only, and problems know no engine
APART = [
    {"sampling"},
    {"grading"},
    {"metrics", "problem_table"},
    {"reporting", "reports"},
    {"explanations"},
    {"candidates"},
    {"likelihoods"},
    {"two_property"},
    {"compare", "ledgers"},
    {"problems"},
    {"engines"},
]


def _modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py" or path.parent != ROOT)


def _part(path: Path) -> str:
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


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    own = _part(path)
    for used in _imports(path) - {own}:
        assert LEVEL[used] <= LEVEL[own], f"{own} may not import {used}"
        for group in APART:
            others = {name for other in APART if other is not group for name in other}
            if own in group and LEVEL[used] == LEVEL[own]:
                assert used not in others, f"{own} and {used} meet on disk only"


def test_only_one_module_imports_each_gate() -> None:
    # rows come from the hub in one place, and are handed to trainers in another
    allowed = {"math_verify": {"equivalence.py"}, "datasets": {"hub.py", "data.py"}}
    gates = {name: set() for name in allowed}
    for path in _modules():
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
        ("expo_bench.cli", "torch transformers vllm pandas datasets pydantic numpy math_verify matplotlib"),
        ("expo_bench.problems", "torch transformers vllm pandas datasets"),
        ("expo_bench.stats", "torch transformers vllm pandas"),
        ("expo_bench.metrics", "torch transformers vllm pandas"),
        ("expo_bench.reporting", "torch transformers vllm pandas"),
        ("expo_bench.grading", "torch transformers vllm pandas"),
        ("expo_bench.importing", "torch transformers vllm pandas datasets pyarrow"),
        ("expo_bench.frames", "torch transformers vllm pandas datasets pyarrow"),
        ("expo_bench.measuring", "torch transformers vllm pandas datasets pyarrow"),
    ],
)
def test_imports_stay_light(module: str, forbidden: str) -> None:
    code = f"import sys, {module}; print(*(set(sys.argv[1].split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, forbidden], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
