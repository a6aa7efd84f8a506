"""The quasi-symplectic Langevin (QSL) integrator: drift, kick, drift between two damping maps.

Source: QSL-VAE paper (Wang & Delingette 2021), Eq. 5, corrected: both drifts have a plus sign, as in the paper's own
proof in A.2 (docs/mathematics.md, correction 1).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential, evaluate
from medlangevin.samplers.scalar import Scalar, scalar_like


class PhaseState(NamedTuple):
    """A point in phase space: ``position`` and ``velocity``, each (chains, d)."""

    position: Tensor
    velocity: Tensor


def step(
    state: PhaseState,
    potential: Potential,
    *,
    step_size: Scalar,
    damping: Scalar,
    noise_scale: Scalar = 0.0,
    noise: Tensor | None = None,
    create_graph: bool = False,
) -> PhaseState:
    """One QSL step; exactly one gradient of ``potential``.

    ``step_size`` t: a scalar or one per dimension (d,). ``damping`` nu >= 0. ``noise``: xi (chains, d), standard
    normal, enters the kick as sqrt(t) ``noise_scale`` xi; None leaves it out. For fixed noise the map is a bijection
    (``inverse_step``) with the constant Jacobian of ``log_det_jacobian``; at damping 0 without noise it is position
    Verlet, volume preserving and time-reversible. ``create_graph`` keeps it differentiable through the force.
    """
    half, damp, kick = _coefficients(state, step_size, damping, noise_scale, noise)
    velocity = damp * state.velocity
    position = state.position + half * velocity
    force = -evaluate(potential, position, create_graph=create_graph).gradient
    velocity = velocity + 2 * half * force + kick
    return PhaseState(position + half * velocity, damp * velocity)


def inverse_step(
    state: PhaseState,
    potential: Potential,
    *,
    step_size: Scalar,
    damping: Scalar,
    noise_scale: Scalar = 0.0,
    noise: Tensor | None = None,
    create_graph: bool = False,
) -> PhaseState:
    """The exact inverse of ``step`` with the same arguments (up to rounding)."""
    half, damp, kick = _coefficients(state, step_size, damping, noise_scale, noise)
    velocity = state.velocity / damp
    position = state.position - half * velocity
    force = -evaluate(potential, position, create_graph=create_graph).gradient
    velocity = velocity - 2 * half * force - kick
    return PhaseState(position - half * velocity, velocity / damp)


def log_det_jacobian(state: PhaseState, *, step_size: Scalar, damping: Scalar) -> Tensor:
    """log |det J| of one step, a 0-d tensor: -nu * sum_j t_j over the d dimensions, for every potential and noise.

    QSL-VAE paper, Eq. 11 and Algorithm 1, corrected: the sign is minus and a scalar t counts d times
    (docs/mathematics.md, corrections 3 and 4).
    """
    step_sizes = scalar_like(step_size, state.position).expand(state.position.shape[-1])
    return -(scalar_like(damping, state.position) * step_sizes).sum()


def _coefficients(
    state: PhaseState, step_size: Scalar, damping: Scalar, noise_scale: Scalar, noise: Tensor | None
) -> tuple[Tensor, Tensor, Scalar]:
    t = scalar_like(step_size, state.position)
    damp = torch.exp(-0.5 * scalar_like(damping, state.position) * t)
    kick: Scalar = 0.0 if noise is None else t.sqrt() * noise_scale * noise
    return 0.5 * t, damp, kick
