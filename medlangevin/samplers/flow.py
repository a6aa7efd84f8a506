"""The quasi-symplectic flow: K integrator steps and the log-determinant of their Jacobian."""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential
from medlangevin.samplers.quasi_symplectic import PhaseState, Scalar, log_det_jacobian, step
from medlangevin.samplers.random import standard_normal


class FlowResult(NamedTuple):
    """Where the flow ended, and its ``log_det_jacobian``: log |det d(end) / d(start)| of each chain, (chains,)."""

    state: PhaseState
    log_det_jacobian: Tensor


def quasi_symplectic_flow(
    state: PhaseState,
    potential: Potential,
    *,
    num_steps: int,
    step_size: Scalar,
    damping: Scalar,
    noise_scale: Scalar = 0.0,
    generator: torch.Generator | None = None,
    create_graph: bool = False,
) -> FlowResult:
    """Push phase-space points through ``num_steps`` QSL steps; exactly ``num_steps`` gradients of ``potential``.

    ``step_size``: a scalar, one per dimension (d,), or one per step and dimension (num_steps, d) or (num_steps, 1).
    With ``noise_scale`` sigma > 0 fresh noise is drawn at every step; the Jacobian is that of the map for the noise
    drawn. ``create_graph`` keeps the result differentiable through the force. QSL-VAE paper, Algorithm 1, corrected
    (docs/mathematics.md, corrections 2 to 4).
    """
    chains = state.position.shape[0]
    log_det = state.position.new_zeros(())
    for k in range(num_steps):
        t = step_size[k] if isinstance(step_size, Tensor) and step_size.ndim == 2 else step_size
        noise = None
        if noise_scale > 0:
            noise = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)
        log_det = log_det + log_det_jacobian(state, step_size=t, damping=damping)
        state = step(
            state,
            potential,
            step_size=t,
            damping=damping,
            noise_scale=noise_scale,
            noise=noise,
            create_graph=create_graph,
        )
    return FlowResult(state, log_det.expand(chains))
