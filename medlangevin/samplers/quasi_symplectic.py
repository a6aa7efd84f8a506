"""The quasi-symplectic Langevin (QSL) integrator: drift, kick, drift between two damping maps.

    v <- exp(-nu t / 2) v;  z <- z + (t / 2) v;  v <- v - t grad U(z) + sqrt(t) sigma xi;  z <- z + (t / 2) v;
    v <- exp(-nu t / 2) v

Source: QSL-VAE paper (Wang & Delingette 2021), Eq. 5, corrected: both drifts have a plus sign, as in the paper's own
proof in A.2 (docs/mathematics.md, correction 1).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential, Scalar, evaluate, scalar_like


class PhaseState(NamedTuple):
    """A point in phase space.

    Attributes:
        position: (chains, d).
        velocity: (chains, d).
    """

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
    """One QSL step; exactly one gradient of the potential.

    For fixed noise the map is a bijection (``inverse_step``) with the constant Jacobian of ``log_det_jacobian``. At
    damping 0 without noise it is position Verlet, volume preserving and time-reversible.

    Args:
        state: Where to start.
        potential: U, in nats.
        step_size: t, a scalar or one for each dimension (d,).
        damping: nu >= 0.
        noise_scale: sigma.
        noise: xi (chains, d), standard normal; None leaves the noise out.
        max_kick: A change of velocity by the force, t F (chains, d), that is longer is shortened to this (the truncated
            drift of Roberts & Tweedie 1996). It still depends on the position alone, so all of the above holds.
        create_graph: Keep the step differentiable through the force.

    Returns:
        The point after the step.
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
    """The inverse of ``step`` with the same arguments, exact up to rounding.

    Args:
        state: What ``step`` returned.
        potential: As given to ``step``.
        step_size: As given to ``step``.
        damping: As given to ``step``.
        noise_scale: As given to ``step``.
        noise: As given to ``step``.
        max_kick: As given to ``step``.
        create_graph: Keep the result differentiable through the force.

    Returns:
        The point that ``step`` was given.
    """
    half, damp, kick = _coefficients(state, step_size, damping, noise_scale, noise)
    velocity = state.velocity / damp
    position = state.position - half * velocity
    velocity = velocity - _push(position, potential, 2 * half, max_kick, create_graph=create_graph) - kick
    return PhaseState(position - half * velocity, velocity / damp)


def log_det_jacobian(state: PhaseState, *, step_size: Scalar, damping: Scalar) -> Tensor:
    """The log-determinant of one step's Jacobian, -nu * sum_j t_j over the d dimensions, for every potential and noise.

    Args:
        state: Any point; only its shape, dtype and device count.
        step_size: t, a scalar or (d,).
        damping: nu.

    Returns:
        log |det J|, a 0-d tensor. QSL-VAE paper, Eq. 11 and Algorithm 1, corrected: the sign is minus and a scalar t
        counts d times (docs/mathematics.md, corrections 3 and 4).
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
