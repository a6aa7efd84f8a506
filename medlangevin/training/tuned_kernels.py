"""Convolutions of volumes with the memory layout and the kernels that a GPU is fastest with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def tunable(model: nn.Module, device: torch.device, *, wanted: bool) -> bool:
    """Whether ``model`` on ``device`` gains: volumes on a CUDA device do; images, measured, do not."""
    return wanted and device.type == "cuda" and any(weight.ndim == 5 for weight in model.parameters())


def put_channels_last(model: nn.Module) -> None:
    """Lay out the weights of volumes' convolutions with their channels last in memory; no number changes."""
    for module in model.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.to(memory_format=torch.channels_last_3d)


@contextmanager
def tuned_kernels(enabled: bool) -> Iterator[None]:
    """Let cuDNN time its kernels for every shape that it meets, which takes seconds; at the end it is as it was."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or enabled
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
