"""Digests that tell whether two runs used the same model."""

import hashlib
from pathlib import Path

from expo_bench.engines.loading import ModelFiles, base_of


def text_digest(text: str) -> str:
    """Return the first 12 hex digits of the text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def weights_digest(name: str, revision: str | None = None) -> str | None:
    """Return 12 hex digits over the weight files of a local folder, a GGUF file or a downloaded hub id.

    The digest of adapters covers the model that they belong to. None where no such file is on this machine.
    """
    path = Path(name)
    if path.is_file():
        files = [path]
    else:
        folder = path if path.is_dir() else _snapshot(name, revision)
        files = sorted(folder.glob("*.safetensors")) if folder else []
    if not files:
        return None
    digest = hashlib.sha256()
    base = base_of(ModelFiles(path=name))
    if base is not None:
        below = weights_digest(base.path, base.revision)
        if below is None:
            return None
        digest.update(f"base {below}\n".encode())
    for file in files:
        with file.open("rb") as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def _snapshot(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns="*.safetensors"))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError):
        return None
