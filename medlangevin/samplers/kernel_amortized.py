"""Kernel-preconditioned amortized Langevin dynamics: MALA per data point, with the weight Phi following the latents.

Source: docs/mathematics.md, "Kernel-preconditioned ALD" (beyond the LAE paper). Langevin dynamics on Phi is, in latent
space, preconditioned by K = G G^T and mixes as badly as K is conditioned; here the proposals are made in latent space,
each data point has its own accept/reject test, and Phi makes the least move that gives the new latents:

    Z' = MALA(Z);   Phi <- Phi + (Z' - Z)^T (G G^T + eps I)^(-1) G

Shapes as in ``amortized``. It needs n linearly independent rows of features (``obstacle`` tells); where there are not
so many, sample the latents with ``mala``, which needs no features.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import mala
from medlangevin.samplers.amortized import latents
from medlangevin.samplers.metropolis import Info
from medlangevin.samplers.potential import Potential, Scalar
from medlangevin.system.errors import MedlangevinError

__all__ = ["Info", "State", "init", "obstacle", "step"]

# A move of the latents that Phi follows by less than 99 % counts as not followed.
_LARGEST_MISS = 0.01


class State(NamedTuple):
    """The weight with its latents, U there, and what Phi follows the latents by.

    Attributes:
        weight: Phi, (..., d_z, d_features).
        latent: Z = G Phi^T, (..., n, d_z).
        value: U of each data point in nats, (..., n).
        gradient: Its gradient with respect to Z, (..., n, d_z).
        inverse: (G G^T + eps I)^(-1) G, (..., n, d_features), fixed for the set.
    """

    weight: Tensor
    latent: Tensor
    value: Tensor
    gradient: Tensor
    inverse: Tensor

    @property
    def position(self) -> Tensor:
        """The latents: what chains of this kernel are about."""
        return self.latent


def init(weight: Tensor, potential: Potential, *, features: Tensor) -> State:
    """The state at a weight; one gradient and one Cholesky factorisation of the n x n kernel.

    Args:
        weight: Phi, (..., d_z, d_features).
        potential: U of each data point, in nats.
        features: G, (..., n, d_features).

    Returns:
        The state, detached from the graph of the weight.

    Raises:
        MedlangevinError: Where the features cannot carry the data points: see ``obstacle``.
    """
    reason = obstacle(features)
    if reason is not None:
        raise MedlangevinError(f"{reason}; sample the latents with mala, which needs no features")
    chain = mala.init(latents(weight, features), potential)
    return State(weight.detach(), *chain, _least_norm_inverse(features))


def step(
    state: State,
    potential: Potential,
    generator: torch.Generator | None = None,
    *,
    features: Tensor,
    step_size: Scalar,
) -> tuple[State, Info]:
    """One MALA step for each data point, which Phi follows; one new gradient.

    Args:
        state: Where the chains are.
        potential: U of each data point, in nats.
        generator: The source of all randomness; None means torch's default one.
        features: G, (..., n, d_features).
        step_size: eta, a scalar or (d_z,).

    Returns:
        The next state, and the outcome of the tests, one for each data point, (..., n).
    """
    chain, info = mala.step(
        mala.State(state.latent, state.value, state.gradient), potential, generator, step_size=step_size
    )
    # Z' - G Phi^T instead of Z' - Z: the same but for rounding and eps, whose errors would add up over the steps.
    move = chain.position - latents(state.weight, features)
    return State(state.weight + move.mT @ state.inverse, *chain, state.inverse), info


def obstacle(features: Tensor) -> str | None:
    """Why Phi cannot follow every move of the latents.

    It can if the n rows of features are linearly independent, and so by more than the rounding of their dtype.

    Args:
        features: G, (..., n, d_features).

    Returns:
        The reason in words; None where Phi can follow.
    """
    points, size = features.shape[-2:]
    if points > size:
        return f"{points} data points need at least as many features, and there are {size}"
    identity = torch.eye(points, dtype=features.dtype, device=features.device)
    miss = (features @ _least_norm_inverse(features).mT - identity).abs().max().item()
    # Written so that a miss that is not a number counts as one.
    if not miss <= _LARGEST_MISS:
        return f"the features of the {points} data points are linearly dependent, or nearly so for {features.dtype}"
    return None


def _least_norm_inverse(features: Tensor) -> Tensor:
    """(G G^T + eps I)^(-1) G in the dtype of G, eps being the rounding of its trace; not finite if K is singular.

    The factorisation is in float64, as K has the square of the condition number of G.
    """
    rows = features.double()
    kernel = rows @ rows.mT
    eps = torch.finfo(features.dtype).eps * kernel.diagonal(dim1=-2, dim2=-1).sum(-1)
    identity = torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    factor, failed = torch.linalg.cholesky_ex(kernel + eps[..., None, None] * identity)
    inverse = torch.cholesky_solve(rows, factor)
    return torch.where(failed[..., None, None] == 0, inverse, torch.nan).to(features.dtype)
