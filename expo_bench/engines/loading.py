"""A model's name -> its files, and the model itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import expo_bench
from expo_bench.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """Where `from_pretrained` finds a model."""

    path: str
    """A local folder or a hub id."""
    revision: str | None = None
    gguf_file: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `from_pretrained`, its first one apart."""
        return {"revision": self.revision, **({"gguf_file": self.gguf_file} if self.gguf_file else {})}


def find_model(name: str, revision: str | None = None) -> ModelFiles:
    """Resolve `micro`, a folder, a GGUF file or a hub id.

    Raises:
        UserError: the name looks like a path and nothing is there, or the folder holds no safetensors.
    """
    if name == "micro":
        return ModelFiles(path=str(Path(expo_bench.__file__).parent / "assets" / "micro"))
    path = Path(name)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"model file {name} does not exist")
        return ModelFiles(path=str(path.parent), gguf_file=path.name)
    if path.is_dir():
        if not any(path.glob("*.safetensors")):
            raise UserError(f"model folder {name} holds no .safetensors file (pickled weights are not loaded)")
        return ModelFiles(path=str(path))
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(f"model {name!r} is neither micro, a folder, a .gguf file nor a hub id like owner/name")
    return ModelFiles(path=name, revision=revision)


def load_tokenizer(files: ModelFiles) -> Any:
    """Return the tokenizer.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(files.path, **files.arguments())
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(files, error) from error


def load_model(files: ModelFiles, dtype: str, device: str) -> Any:
    """Return the model in evaluation mode on `device`.

    Args:
        files: where it is.
        dtype: "auto", "bfloat16", "float16" or "float32". "auto" is the checkpoint's own type, except that half
            precision becomes what the device computes fast: bfloat16 where it has it, else float32.
        device: a torch device.

    Raises:
        UserError: it cannot be loaded.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    # a bar for the weights would break into the run's own
    logging.disable_progress_bar()
    extra: dict[str, Any] = {}
    try:
        if files.gguf_file:
            from transformers import GgufConfig

            # blocks left packed would be unpacked again in every product
            extra["quantization_config"] = GgufConfig(dequantize=True)
            own = torch.float16
        else:
            config = AutoConfig.from_pretrained(files.path, revision=files.revision)
            own = config.dtype or torch.float32
        chosen = _fast_dtype(own, device) if dtype == "auto" else getattr(torch, dtype)
        model = AutoModelForCausalLM.from_pretrained(
            files.path, dtype=chosen, use_safetensors=files.gguf_file is None, **files.arguments(), **extra
        )
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(files, error) from error
    return model.eval().to(device)


def _fast_dtype(own: Any, device: str) -> Any:
    import torch

    if own == torch.float32:
        return own
    if device.startswith("cpu"):
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    return torch.bfloat16 if not device.startswith("cuda") or torch.cuda.is_bf16_supported() else torch.float16


def _cannot_load(files: ModelFiles, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"cannot load model {files.path}: {reason}")
