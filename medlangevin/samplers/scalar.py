"""Numbers that settings are given as: plain, or tensors where they are learned or differ between dimensions."""

import torch
from torch import Tensor

Scalar = float | Tensor


def scalar_like(value: Scalar, like: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """``value`` as a tensor on the device of ``like`` and with its dtype, or with ``dtype``.

    A plain number is filled in on the device: a copy from the host would make a GPU wait, and a CUDA graph cannot hold
    one.
    """
    dtype = dtype or like.dtype
    if isinstance(value, Tensor):
        return value.to(dtype=dtype, device=like.device)
    return torch.full((), value, dtype=dtype, device=like.device)
