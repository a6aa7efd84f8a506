"""Random numbers from an explicit ``torch.Generator``; None means torch's default generator of the device."""

from collections.abc import Callable

import torch
from torch import Tensor

from medlangevin.system.distributed import SharedGenerator


def standard_normal(
    shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None, common: bool = False
) -> Tensor:
    """Draw from N(0, I).

    Args:
        shape: Of the result.
        like: Its dtype and device are those of the result.
        generator: Where the numbers come from; None: torch's default generator.
        common: All images share it, though its first dimension may be as long as a batch.

    Returns:
        A tensor of ``shape``.
    """
    return _draw(torch.randn, shape, like, generator, common=common)


def uniform(shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw from the uniform distribution on [0, 1).

    Args:
        shape: Of the result.
        like: Its dtype and device are those of the result.
        generator: Where the numbers come from; None: torch's default generator.

    Returns:
        A tensor of ``shape``.
    """
    return _draw(torch.rand, shape, like, generator)


def _draw(
    make: Callable[..., Tensor],
    shape: tuple[int, ...],
    like: Tensor,
    generator: torch.Generator | None,
    *,
    common: bool = False,
) -> Tensor:
    device = like.device if generator is None else generator.device
    rows = generator.rows if isinstance(generator, SharedGenerator) and not common else None
    if rows is None or not shape or shape[0] != rows.size:
        return make(shape, dtype=like.dtype, device=device, generator=generator).to(like.device)
    drawn = make((rows.total, *shape[1:]), dtype=like.dtype, device=device, generator=generator)
    return drawn[rows.start : rows.start + rows.size].to(like.device)
