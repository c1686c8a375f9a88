"""A wheel and a source archive, built and used outside the checkout, in an environment that does not know it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_FOLDER = ROOT / "expo_bench" / "assets"
ASSETS = sorted(path.relative_to(ROOT).as_posix() for path in _FOLDER.rglob("*") if path.is_file())

pytestmark = pytest.mark.fault


def _run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    # nothing of this process's environment may lead back to the checkout
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [str(word) for word in words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two archives, built by the backend that pyproject.toml names, from a copy without what the checkout left."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    left_out = shutil.ignore_patterns(".*", "results", "*.egg-info", "__pycache__", "build", "dist")
    shutil.copytree(ROOT, source, ignore=left_out)
    for build in ("build_wheel", "build_sdist"):
        code = f"import sys; from setuptools import build_meta; build_meta.{build}(sys.argv[1])"
        _run(source, sys.executable, "-c", code, folder)
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": archive}


@pytest.fixture(scope="module")
def environment(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel; its dependencies are those of this one, since torch takes minutes.

    They come in by a .pth file. Those of editable installations stand in this environment's own .pth files, which
    Python reads only in folders of packages of its own: the checkout does not come along.
    """
    folder = tmp_path_factory.mktemp("environment") / "venv"
    _run(ROOT, sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    _run(folder, python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", built["wheel"])
    packages = Path(_run(folder, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_archives_hold_the_package_and_its_assets_and_nothing_else(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = set(wheel.namelist())
    assert {*ASSETS, "expo_bench/py.typed", "expo_bench/commands/cli.py"} <= names
    assert any(name.endswith("/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"expo_bench"}
    with tarfile.open(built["sdist"]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {*ASSETS, "pyproject.toml", "README.md", "LICENSE"} <= inside


def test_the_wheel_evaluates_outside_the_checkout(environment: Path, tmp_path: Path) -> None:
    where = _run(tmp_path, environment / "bin" / "python", "-c", "import expo_bench; print(expo_bench.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(environment)
    words = ["eval", "-m", "micro", "-b", "micro", "--limit", "4", "-n", "2", "--max-tokens", "32", "-o", "run"]
    done = _run(tmp_path, environment / "bin" / "expo-bench", *words)
    assert done.stdout == "run\n"
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert "git" in (tmp_path / "run" / "manifest.json").read_text()


def test_the_wheel_demonstrates_outside_the_checkout(environment: Path, tmp_path: Path) -> None:
    done = _run(tmp_path, environment / "bin" / "expo-bench", "demo", "-o", "demo")
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
    assert done.stdout.strip().endswith("demo")
