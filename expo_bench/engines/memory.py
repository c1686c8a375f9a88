"""What the libraries say when memory runs out; there is no exception that they share."""

import torch

_SAYINGS = (
    "out of memory",  # CUDA, ROCm, MPS
    "can't allocate memory",  # torch's allocator on the CPU
    "not enough memory",
    "cannot allocate memory",  # the system, as torch and safetensors pass it on
    "std::bad_alloc",
    "alloc_failed",  # cuBLAS, cuDNN
    "could not create a memory",  # oneDNN
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return any(saying in text for saying in _SAYINGS)
