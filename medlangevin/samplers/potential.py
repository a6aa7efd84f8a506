"""What samplers are given: a potential U(z), whose gradient they follow, and numbers such as a step size."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.system.errors import MedlangevinError

# The negative log density, (chains, d) -> (chains,), in nats; chains must not influence one another.
Potential = Callable[[Tensor], Tensor]
# A plain number, or a tensor where the number is learned or differs between dimensions.
Scalar = float | Tensor


class Evaluation(NamedTuple):
    """A potential at a position.

    Attributes:
        value: U in nats, (chains,).
        gradient: Its gradient, (chains, d).
    """

    value: Tensor
    gradient: Tensor


def evaluate(potential: Potential, position: Tensor, *, create_graph: bool = False) -> Evaluation:
    """Value and gradient of a potential by one forward and one backward pass. Works under ``torch.no_grad`` as well.

    Args:
        potential: U, in nats.
        position: (chains, d), or (..., d).
        create_graph: Keep both results differentiable with respect to ``position`` and to every parameter inside the
            potential (second-order gradients). Without it they are detached and nothing is kept in memory.

    Returns:
        Value and gradient at each position.

    Raises:
        MedlangevinError: Where autograd cannot work, or the values are not one for each chain.
    """
    if torch.is_inference_mode_enabled():
        raise MedlangevinError("forces need autograd, which torch.inference_mode forbids; use torch.no_grad instead")
    with torch.enable_grad():
        if not create_graph:
            position = position.detach()
        if not position.requires_grad:
            position = position.detach().requires_grad_()
        value = potential(position)
        if value.shape != position.shape[:-1]:
            raise MedlangevinError(
                f"the potential gave values of shape {tuple(value.shape)} at positions of shape "
                f"{tuple(position.shape)}; it has to give {tuple(position.shape[:-1])}, one value a chain"
            )
        # The sum over chains has each chain's own gradient in its row, as chains do not interact.
        (gradient,) = torch.autograd.grad(value.sum(), position, create_graph=create_graph)
    return Evaluation(value if create_graph else value.detach(), gradient)


def scalar_like(value: Scalar, like: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """A number as a tensor that fits another one.

    A plain number is filled in on the device: a copy from the host would make a GPU wait, and a CUDA graph cannot hold
    one.

    Args:
        value: A plain number or a tensor.
        like: The tensor whose device and dtype the result has.
        dtype: The dtype of the result instead.

    Returns:
        ``value``, 0-d or of its own shape.
    """
    dtype = dtype or like.dtype
    if isinstance(value, Tensor):
        return value.to(dtype=dtype, device=like.device)
    return torch.full((), value, dtype=dtype, device=like.device)
