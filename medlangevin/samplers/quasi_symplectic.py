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

    For fixed noise the map is a bijection with the constant Jacobian of ``log_det_jacobian``. At
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
    t = scalar_like(step_size, state.position)
    half, damp = 0.5 * t, torch.exp(-0.5 * scalar_like(damping, state.position) * t)
    velocity = damp * state.velocity
    position = state.position + half * velocity
    push = -t * evaluate(potential, position, create_graph=create_graph).gradient
    if not math.isinf(max_kick):
        push = push * (max_kick / push.norm(dim=-1, keepdim=True).clamp(min=max_kick))
    velocity = velocity + push + (0.0 if noise is None else t.sqrt() * noise_scale * noise)
    return PhaseState(position + half * velocity, damp * velocity)


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
