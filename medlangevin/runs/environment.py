"""environment.json: what a run was made with. No user, host or folder names."""

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("medlangevin", "torch", "monai", "lightning-fabric", "nibabel", "numpy", "safetensors")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """What environment.json holds.

    Args:
        device: Where the training runs.

    Returns:
        Versions, platform and device, ready for JSON.
    """
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def device_name(device: torch.device) -> str:
    """A device in words.

    Args:
        device: The device.

    Returns:
        For example ``cpu (2 threads)`` or ``cuda (NVIDIA H200)``.
    """
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({threads} thread{'s' if threads > 1 else ''})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class Usage:
    """How much of the time since it was made was spent in ``waiting`` blocks."""

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
        """The share of the time waited, and ``peak_memory_mib`` where it is known.

        Args:
            device: Where the training runs.

        Returns:
            Half a sentence.
        """
        share = self._waited / max(time.monotonic() - self._started, 1e-9)
        peak = peak_memory_mib(device)
        memory = "" if peak is None else f"; peak memory {peak:,.0f} MiB"
        return f"waited for data {100 * share:.1f} % of the time{memory}"


def peak_memory_mib(device: torch.device) -> float | None:
    """The most memory that was taken so far.

    Args:
        device: Where the tensors are.

    Returns:
        MiB: on CUDA of tensors, on a CPU of this process, libraries included; None where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
