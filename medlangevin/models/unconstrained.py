"""Numbers that have to stay positive or bounded, as parameters that an optimiser can move freely."""

import math

import torch
from torch import Tensor


def step_size_logit(step_size: float, max_step_size: float, shape: tuple[int, ...]) -> Tensor:
    """The unconstrained numbers, of ``shape``, that ``bounded_step_size`` maps to ``step_size`` < ``max_step_size``."""
    fraction = step_size / max_step_size
    return torch.full(shape, math.log(fraction) - math.log1p(-fraction))


def bounded_step_size(logit: Tensor, max_step_size: float) -> Tensor:
    """t = ``max_step_size`` * sigmoid(``logit``), element by element."""
    return max_step_size * torch.sigmoid(logit)


@torch.no_grad()
def halve_step_size(logit: Tensor) -> None:
    """Change ``logit`` in place so that ``bounded_step_size`` gives half of what it did."""
    logit.copy_(torch.logit(0.5 * torch.sigmoid(logit)))


def inverse_softplus(value: float) -> Tensor:
    """The number, 0-d, that a softplus maps to ``value`` > 0; does not overflow."""
    return torch.tensor(value + math.log(-math.expm1(-value)))
