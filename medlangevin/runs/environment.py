"""environment.json: what a run was made with. No user, host or folder names."""

import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("medlangevin", "torch", "monai", "lightning", "nibabel", "numpy", "safetensors")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Versions, platform and device, ready for JSON."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def device_name(device: torch.device) -> str:
    """For example ``cpu (2 threads)`` or ``cuda (NVIDIA H200)``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({threads} thread{'s' if threads > 1 else ''})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_MIB = 2**20


class Usage:
    """Seconds spent in ``waiting`` blocks since the beginning, as a share of all."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time inside counts as waiting."""
        started = time.monotonic()
        yield
        self._waited += time.monotonic() - started

    def describe(self, device: torch.device) -> str:
        """In words: the share of the time waited, and ``peak_memory_mib``."""
        share = self._waited / max(time.monotonic() - self._started, 1e-9)
        return f"waited for data {100 * share:.1f} % of the time; peak memory {peak_memory_mib(device):,.0f} MiB"


def peak_memory_mib(device: torch.device) -> float:
    """The most memory that tensors took on a CUDA ``device``; on a CPU, that this process had, libraries included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
