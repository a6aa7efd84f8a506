"""What a training used: time spent waiting for data, and memory."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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
