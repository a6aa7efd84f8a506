"""Random numbers from an explicit ``torch.Generator``; None means torch's default generator of the device."""

import torch
from torch import Tensor


def standard_normal(shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """N(0, I) of ``shape`` with the dtype and device of ``like``."""
    device = like.device if generator is None else generator.device
    return torch.randn(shape, dtype=like.dtype, device=device, generator=generator).to(like.device)


def uniform(shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform on [0, 1) of ``shape`` with the dtype and device of ``like``."""
    device = like.device if generator is None else generator.device
    return torch.rand(shape, dtype=like.dtype, device=device, generator=generator).to(like.device)
