"""The libraries that training stands on: kept quiet, and imported before a run needs them."""

import contextlib
import logging
import os
import warnings
from importlib import import_module

_WANTED = ("expo_bench.trainers.online.run", "expo_bench.trainers.rounds.offline")


def quiet() -> None:
    """Leave out what other libraries say about versions and devices that concern nobody here, and bars between ours.

    Telemetry only where the user asked for it. To be called before the libraries are imported.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRACKIO_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM")
    # TRL 1.16 uses the old name in transformers 5.23
    warnings.filterwarnings("ignore", message="`(is_)?gradient_checkpointing` is deprecated", category=FutureWarning)
    logging.getLogger("vllm").setLevel(logging.ERROR)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")


def without_vllm() -> None:
    """Keep TRL's trainers, which are not imported yet, from vLLM: its import takes longer than all others together."""
    # TRL's package shows only what it lists
    import_module("trl.import_utils").is_vllm_available = lambda min_version=None: False  # type: ignore[attr-defined]


def preload(*, with_vllm: bool) -> None:
    """Import what a run of any method imports; a package that is missing is the run's to tell."""
    quiet()
    with contextlib.suppress(ImportError):
        if not with_vllm:
            without_vllm()
        for name in _WANTED:
            import_module(name)
