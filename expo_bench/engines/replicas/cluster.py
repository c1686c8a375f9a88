"""Ray itself: its package, a cluster to work in, and what a replica takes of it."""

import math
import os
import socket
from collections.abc import Mapping
from typing import Any

from expo_bench.errors import UserError, install


def import_ray() -> Any:
    """Return the module.

    Raises:
        UserError: it is not installed.
    """
    # Ray reports on its use over the network unless told not to
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # and its workers are nice by 15 unless told not to: beside any other work they would stand still
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--replicas needs one package more: {install('ray')}") from error
    return ray


def connect(ray: Any, address: str | None, n: int) -> None:
    """Join the cluster at the address, or start one on this machine alone for `n` replicas.

    Raises:
        UserError: no cluster answers, or this machine cannot have that of `n` replicas.
    """
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        if n > (processors := os.cpu_count() or 1):
            raise _too_many(n, processors)
        try:
            # results are small, and Ray would else take a third of the memory for them
            ray.init(address="local", include_dashboard=False, object_store_memory=256 * 2**20, **quiet)
        except Exception as error:  # Ray raises no narrower one where its processes do not come up in time
            told = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(
                f"Ray does not start here ({told[:200]}): try again when the machine is less busy"
            ) from error
        return
    try:
        host, colon, port = address.rpartition(":")
        if colon:
            # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"no Ray cluster answers at {address} (start one with `ray start --head`): {reason}") from None


def resources(ray: Any, n: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each replica takes of its node: GPUs, or the largest equal number of processors that all can have."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("GPU") for node in nodes):
        return {"num_gpus": _gpus(options), "num_cpus": 1}
    processors = [int(node.get("CPU", 0)) for node in nodes]
    for each in range(sum(processors) // n, 0, -1):
        if sum(there // each for there in processors) >= n:
            return {"num_cpus": each}
    raise _too_many(n, sum(processors))


def _too_many(n: int, processors: int) -> UserError:
    return UserError(f"--replicas {n}: each takes a processor, and there are {processors}")


def _gpus(options: Mapping[str, Any]) -> int:
    """Return how many GPUs one engine uses: those over which vLLM splits the model."""
    split = (options.get(name, 1) for name in ("tensor_parallel_size", "pipeline_parallel_size"))
    return math.prod(size if isinstance(size, int) else 1 for size in split)
