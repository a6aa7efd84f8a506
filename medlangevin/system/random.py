"""Random numbers from an explicit ``torch.Generator``; None means torch's default generator of the device."""

from collections.abc import Callable

import torch
from torch import Tensor

from medlangevin.system.distributed import SharedGenerator


def standard_normal(
    shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None, common: bool = False
) -> Tensor:
    """N(0, I) of ``shape`` with the dtype and device of ``like``.

    ``common``: what all images share, though its first dimension may be as long as a batch.
    """
    return _draw(torch.randn, shape, like, generator, common=common)


def uniform(shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform on [0, 1) of ``shape`` with the dtype and device of ``like``."""
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
