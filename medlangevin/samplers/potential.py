"""Potentials U(z), the negative log densities that samplers follow, and their gradients."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.system.errors import MedlangevinError

# (chains, d) -> (chains,), in nats; chains must not influence one another.
Potential = Callable[[Tensor], Tensor]


class Evaluation(NamedTuple):
    """A potential at a position: ``value`` (chains,) in nats and ``gradient`` (chains, d)."""

    value: Tensor
    gradient: Tensor


def evaluate(potential: Potential, position: Tensor, *, create_graph: bool = False) -> Evaluation:
    """Value and gradient of ``potential`` at ``position`` (chains, d), by one forward and one backward pass.

    With ``create_graph`` both results stay differentiable with respect to ``position`` and to every parameter inside
    the potential (second-order gradients); without, they are detached and nothing is kept in memory. Works under
    ``torch.no_grad`` as well. Raises MedlangevinError where autograd cannot work or the values are not one a chain.
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
    if create_graph:
        return Evaluation(value, gradient)
    return Evaluation(value.detach(), gradient)
