"""A model's name -> its files, and the model itself."""

import json
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import expo_bench
from expo_bench.errors import UserError

SMALL = 10_000_000
"""Parameters below which one thread is faster than several: they would wait for each other at every tiny product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """Where `from_pretrained` finds a model."""

    path: str
    """A local folder or a hub id."""
    revision: str | None = None
    gguf_file: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `from_pretrained`, its first one apart."""
        gguf = {"gguf_file": self.gguf_file} if self.gguf_file else {}
        # False, not left open: transformers would ask on the terminal whether it may run the repository's code
        return {"revision": self.revision, "trust_remote_code": False, **gguf}


_ADAPTER_CONFIG, _ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def is_adapter(name: str) -> bool:
    """Tell whether the name is a folder of low-rank adapters, as peft saves them."""
    return Path(name, _ADAPTER_CONFIG).is_file()


def base_of(files: ModelFiles) -> ModelFiles | None:
    """Return the model that the adapters of a folder belong to; None where the folder holds a model of its own.

    Raises:
        UserError: the folder does not say which, or it is not there.
    """
    if not is_adapter(files.path):
        return None
    path = Path(files.path, _ADAPTER_CONFIG)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        name, revision = config["base_model_name_or_path"], config.get("revision")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} does not say which model the adapters belong to (base_model_name_or_path)") from error
    try:
        return find_model(str(name), revision)
    except UserError as error:
        raise UserError(f"{path} names the base {name}: {error}") from error


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
        if is_adapter(name) and not (path / _ADAPTER_WEIGHTS).is_file():
            raise UserError(f"adapter folder {name} holds no {_ADAPTER_WEIGHTS} (pickled weights are not loaded)")
        if not any(path.glob("*.safetensors")):
            raise UserError(f"model folder {name} holds no .safetensors file (pickled weights are not loaded)")
        _check_index(path / "model.safetensors.index.json")
        return ModelFiles(path=str(path))
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(f"model {name!r} is neither micro, a folder, a .gguf file nor a hub id like owner/name")
    return ModelFiles(path=name, revision=revision)


def _check_index(index: Path) -> None:
    # transformers loads whatever file an index of safetensors names, a pickle too
    if not index.is_file():
        return
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is damaged: it does not say which file holds which weights") from error
    if other := next((name for name in names if not str(name).endswith(".safetensors")), None):
        raise UserError(f"{index} names {other!r}: pickled weights are not loaded")


def load_tokenizer(files: ModelFiles, *, local_files_only: bool = False) -> Any:
    """Return the tokenizer; that of adapters whose folder has none is their base's.

    With `local_files_only` nothing is downloaded.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    base = base_of(files)
    if base is not None and not Path(files.path, "tokenizer_config.json").is_file():
        return load_tokenizer(base, local_files_only=local_files_only)
    try:
        return AutoTokenizer.from_pretrained(
            files.path, local_files_only=local_files_only, **files.arguments(), **_wish_for_bos(files)
        )
    except (OSError, ValueError, ImportError) as error:
        raise _cannot_load(files, error) from error


def _wish_for_bos(files: ModelFiles) -> dict[str, bool]:
    """Return whether a GGUF file wants its beginning-of-sequence token before a text, which transformers leaves out."""
    if files.gguf_file is None:
        return {}
    from gguf import GGUFReader

    field = GGUFReader(Path(files.path, files.gguf_file)).get_field("tokenizer.ggml.add_bos_token")
    return {} if field is None else {"add_bos_token": bool(field.contents())}


def check_device(device: str) -> None:
    """See that torch has the device, before anything is loaded.

    Raises:
        UserError: it has not.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"device {device} cannot be used ({reason}): choose auto or cpu, or another torch") from error


def check_hub(files: ModelFiles) -> None:
    """See that the hub, or the copy of it here, has the model, before an engine asks with retries of its own.

    Raises:
        UserError: it has not, or cannot be reached.
    """
    if Path(files.path).exists() or files.gguf_file:
        return
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    chatty = logging.getLogger("huggingface_hub")
    level = chatty.level
    # one line at the end in place of one for each of its attempts
    chatty.setLevel(logging.ERROR)
    try:
        hf_hub_download(files.path, "config.json", revision=files.revision)
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"model {files.path} is not here, and the hub cannot be reached: check name and network, or give a folder"
        ) from error
    except EntryNotFoundError:
        return  # adapters have no config.json
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"the hub gives no model {files.path} ({reason}): check its name, or give a folder") from error
    finally:
        chatty.setLevel(level)


def load_model(files: ModelFiles, dtype: str, device: str) -> Any:
    """Return the model in evaluation mode on `device`; adapters are merged into the model that they belong to.

    Args:
        files: where it is.
        dtype: "auto", "bfloat16", "float16" or "float32". "auto" is the checkpoint's own type, except that half
            precision becomes what the device computes fast: bfloat16 where it has it, else float32.
        device: a torch device.

    Raises:
        UserError: it cannot be loaded.
    """
    check_device(device)
    check_hub(files)
    base = base_of(files)
    if base is not None:
        return _merged(files, base, dtype, device)
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig
    from transformers.utils import logging as told

    # a bar for the weights would break into the run's own
    told.disable_progress_bar()
    # blocks left packed would be unpacked again in every product
    extra = {"quantization_config": GgufConfig(dequantize=True)} if files.gguf_file else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            files.path,
            dtype=getattr(torch, fast_dtype(files, dtype, device)),
            use_safetensors=files.gguf_file is None,
            **files.arguments(),
            **extra,
        )
        return model.eval().to(device)
    except (OSError, ValueError, ImportError, RuntimeError, MemoryError, pickle.UnpicklingError) as error:
        raise _cannot_load(files, error) from error


def _merged(files: ModelFiles, base: ModelFiles, dtype: str, device: str) -> Any:
    import torch

    try:
        from peft import PeftModel
    except ImportError as error:
        raise UserError(f"{files.path} holds adapters, which need one package more: pip install peft") from error
    root = base
    while (below := base_of(root)) is not None:
        root = below
    # small updates would be lost if they were added in half precision
    model = load_model(base, "float32", "cpu")
    try:
        merged = PeftModel.from_pretrained(model, files.path).merge_and_unload()
        merged = merged.eval().to(device=device, dtype=getattr(torch, fast_dtype(root, dtype, device)))
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise _cannot_load(files, error) from error
    # adapters that are trained on top of this model have this folder as their base
    merged.name_or_path = merged.config._name_or_path = files.path
    return merged


def fast_dtype(files: ModelFiles, dtype: str, device: str) -> str:
    """Return the name of the type that weights are held in; see `load_model` for "auto"."""
    import torch
    from transformers import AutoConfig

    if dtype != "auto":
        return dtype
    if not files.gguf_file:
        config = AutoConfig.from_pretrained(files.path, revision=files.revision, trust_remote_code=False)
        if config.dtype in (None, torch.float32):
            return "float32"
    if device.startswith("cpu"):
        return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"
    return "bfloat16" if not device.startswith("cuda") or torch.cuda.is_bf16_supported() else "float16"


def _cannot_load(files: ModelFiles, error: Exception) -> UserError:
    from expo_bench.engines.memory import is_out_of_memory

    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if is_out_of_memory(error):
        reason = f"memory ran out ({reason[:120]}); free some, or choose half precision (dtype bfloat16)"
    return UserError(f"cannot load model {files.path}: {reason}")
