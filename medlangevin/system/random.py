"""Random numbers from an explicit ``torch.Generator``; None means torch's default generator of the device."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """The ``size`` rows from ``start`` on of a batch of ``total``: what one of several processes works on."""

    start: int
    size: int
    total: int


class SharedGenerator(torch.Generator):
    """A generator of which every process has a copy in the same state.

    While ``rows`` are set, a draw with one row for each of the ``size`` images is made for all ``total`` of them, and
    a process keeps its own: an image's noise does not depend on how many processes the batch is split among.
    """

    rows: Rows | None = None


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
