"""Flows: K integrator steps as one differentiable map of phase space, with the log-determinant of its Jacobian."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from medlangevin.samplers import leapfrog, quasi_symplectic
from medlangevin.samplers.potential import Potential
from medlangevin.samplers.quasi_symplectic import PhaseState
from medlangevin.samplers.scalar import Scalar
from medlangevin.system.random import standard_normal


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
    max_kick: float = math.inf,
    velocity_scales: Tensor | None = None,
    generator: torch.Generator | None = None,
    create_graph: bool = False,
    checkpoint_steps: bool = False,
) -> FlowResult:
    """Push phase-space points through ``num_steps`` QSL steps; exactly ``num_steps`` gradients of ``potential``.

    ``step_size``: a scalar, one per dimension (d,), or one per step and dimension (num_steps, d) or (num_steps, 1).
    With ``noise_scale`` sigma > 0 fresh noise is drawn at every step; the Jacobian is that of the map for the noise
    drawn. ``max_kick``: see ``quasi_symplectic.step``; ``velocity_scales`` (num_steps,), tempering: ``leapfrog_flow``.
    ``create_graph`` keeps the result differentiable through the force; with ``checkpoint_steps`` as well, no step's
    graph is kept: each is computed again in the backward pass, so memory does not grow with ``num_steps`` and gradients
    of the potential are made more than once. QSL-VAE paper, Algorithm 1, corrected (docs/mathematics.md, corrections 2
    to 4).
    """
    log_det = _tempering_log_det(state.position, velocity_scales)
    for k in range(num_steps):
        t = step_size_at(step_size, k)
        noise = None
        if isinstance(noise_scale, Tensor) or noise_scale > 0:
            noise = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)

        def step(position: Tensor, velocity: Tensor, t: Scalar = t, noise: Tensor | None = noise) -> PhaseState:
            return quasi_symplectic.step(
                PhaseState(position, velocity),
                potential,
                step_size=t,
                damping=damping,
                noise_scale=noise_scale,
                noise=noise,
                max_kick=max_kick,
                create_graph=create_graph,
            )

        log_det = log_det + quasi_symplectic.log_det_jacobian(state, step_size=t, damping=damping)
        position, velocity = recomputed(step, *state) if create_graph and checkpoint_steps else step(*state)
        state = PhaseState(position, velocity if velocity_scales is None else velocity_scales[k] * velocity)
    return FlowResult(state, log_det.expand(state.position.shape[:-1]))


def leapfrog_flow(
    state: PhaseState,
    potential: Potential,
    *,
    num_steps: int,
    step_size: Scalar,
    velocity_scales: Tensor | None = None,
    create_graph: bool = False,
    checkpoint_steps: bool = False,
) -> FlowResult:
    """Push phase-space points through ``num_steps`` leapfrog steps; exactly ``num_steps`` + 1 gradients.

    ``velocity_scales`` alpha (num_steps,): the velocity is multiplied by alpha_k after step k (tempering, schedules in
    ``tempering``), so log |det J| = d * sum_k log alpha_k, and 0 without. The other arguments are those of
    ``quasi_symplectic_flow``. Hamiltonian VAE (Caterini et al. 2018), Algorithm 1.
    """

    def begin(position: Tensor, velocity: Tensor) -> leapfrog.State:
        return leapfrog.init(position, velocity, potential, create_graph=create_graph)

    recompute = create_graph and checkpoint_steps
    current = leapfrog.State(*(recomputed(begin, *state) if recompute else begin(*state)))
    for k in range(num_steps):
        t = step_size_at(step_size, k)

        def step(position: Tensor, velocity: Tensor, value: Tensor, gradient: Tensor, t: Scalar = t) -> leapfrog.State:
            start = leapfrog.State(position, velocity, value, gradient)
            return leapfrog.step(start, potential, step_size=t, create_graph=create_graph)

        current = leapfrog.State(*(recomputed(step, *current) if recompute else step(*current)))
        if velocity_scales is not None:
            current = current._replace(velocity=velocity_scales[k] * current.velocity)
    log_det = _tempering_log_det(state.position, velocity_scales)
    return FlowResult(PhaseState(current.position, current.velocity), log_det.expand(state.position.shape[:-1]))


def step_size_at(step_size: Scalar, k: int) -> Scalar:
    """The step size of step ``k``: row k of a (num_steps, d) or (num_steps, 1) tensor, else ``step_size`` itself."""
    return step_size[k] if isinstance(step_size, Tensor) and step_size.ndim == 2 else step_size


def recomputed(function: Callable[..., Any], *arguments: Tensor) -> Any:
    """``function`` of ``arguments``, its graph dropped now and made again in the backward pass.

    The function must be deterministic: noise is drawn before and passed in.
    """
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)


def _tempering_log_det(position: Tensor, velocity_scales: Tensor | None) -> Tensor:
    if velocity_scales is None:
        return position.new_zeros(())
    return position.shape[-1] * velocity_scales.log().sum()
