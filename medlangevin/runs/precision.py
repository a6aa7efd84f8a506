"""How many bits float32 matrix products and convolutions are computed with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["highest", "high", "medium"]


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Set torch's precision of float32 products, and of convolutions on CUDA alike, and put both back at the end.

    Torch itself lets CUDA's convolutions use TensorFloat even at ``highest``.

    Args:
        precision: ``highest``: all 24 bits. Below, TensorFloat (11 bits) or bfloat16 (8) where the device has units for
            them.
    """
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
