"""The quasi-symplectic Langevin (QSL) integrator: drift, kick, drift between two damping maps.

Source: QSL-VAE paper (Wang & Delingette 2021), Eq. 5, corrected: both drifts have a plus sign, as in the paper's own
proof in A.2 (docs/mathematics.md, correction 1).
"""

import math
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
    max_kick: float = math.inf,
    create_graph: bool = False,
) -> PhaseState:
    """One QSL step; exactly one gradient of ``potential``.

    ``step_size`` t: a scalar or one per dimension (d,). ``damping`` nu >= 0. ``noise``: xi (chains, d), standard
    normal, enters the kick as sqrt(t) ``noise_scale`` xi; None leaves it out. For fixed noise the map is a bijection
    (``inverse_step``) with the constant Jacobian of ``log_det_jacobian``; at damping 0 without noise it is position
    Verlet, volume preserving and time-reversible. ``create_graph`` keeps it differentiable through the force.

    ``max_kick``: a change of velocity by the force, t F (chains, d), that is longer is shortened to it (the truncated
    drift of Roberts & Tweedie 1996). It still depends on the position alone, so all of the above holds.
    """
    half, damp, kick = _coefficients(state, step_size, damping, noise_scale, noise)
    velocity = damp * state.velocity
    position = state.position + half * velocity
    velocity = velocity + _push(position, potential, 2 * half, max_kick, create_graph=create_graph) + kick
    return PhaseState(position + half * velocity, damp * velocity)


def inverse_step(
    state: PhaseState,
    potential: Potential,
    *,
    step_size: Scalar,
    damping: Scalar,
    noise_scale: Scalar = 0.0,
    noise: Tensor | None = None,
    max_kick: float = math.inf,
    create_graph: bool = False,
) -> PhaseState:
    """The exact inverse of ``step`` with the same arguments (up to rounding)."""
    half, damp, kick = _coefficients(state, step_size, damping, noise_scale, noise)
    velocity = state.velocity / damp
    position = state.position - half * velocity
    velocity = velocity - _push(position, potential, 2 * half, max_kick, create_graph=create_graph) - kick
    return PhaseState(position - half * velocity, velocity / damp)


def log_det_jacobian(state: PhaseState, *, step_size: Scalar, damping: Scalar) -> Tensor:
    """log |det J| of one step, a 0-d tensor: -nu * sum_j t_j over the d dimensions, for every potential and noise.

    QSL-VAE paper, Eq. 11 and Algorithm 1, corrected: the sign is minus and a scalar t counts d times
    (docs/mathematics.md, corrections 3 and 4).
    """
    step_sizes = scalar_like(step_size, state.position).expand(state.position.shape[-1])
    return -(scalar_like(damping, state.position) * step_sizes).sum()


def _push(position: Tensor, potential: Potential, t: Tensor, max_kick: float, *, create_graph: bool) -> Tensor:
    push = -t * evaluate(potential, position, create_graph=create_graph).gradient
    if math.isinf(max_kick):
        return push
    return push * (max_kick / push.norm(dim=-1, keepdim=True).clamp(min=max_kick))


def _coefficients(
    state: PhaseState, step_size: Scalar, damping: Scalar, noise_scale: Scalar, noise: Tensor | None
) -> tuple[Tensor, Tensor, Scalar]:
    t = scalar_like(step_size, state.position)
    damp = torch.exp(-0.5 * scalar_like(damping, state.position) * t)
    kick: Scalar = 0.0 if noise is None else t.sqrt() * noise_scale * noise
    return 0.5 * t, damp, kick
