"""Flows: K integrator steps as one differentiable map of phase space, with the log-determinant of its Jacobian."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from medlangevin.samplers import leapfrog, quasi_symplectic
from medlangevin.samplers.potential import Potential, Scalar
from medlangevin.samplers.quasi_symplectic import PhaseState
from medlangevin.system.random import standard_normal

Result = TypeVar("Result")


class FlowResult(NamedTuple):
    """Where a flow ended.

    Attributes:
        state: The end, position and velocity.
        log_det_jacobian: log |det d(end) / d(start)| of each chain, (chains,).
    """

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
    generator: torch.Generator | None = None,
    create_graph: bool = False,
    checkpoint_steps: bool = False,
) -> FlowResult:
    """Push phase-space points through QSL steps; exactly ``num_steps`` gradients of the potential.

    Args:
        state: The start.
        potential: U, in nats.
        num_steps: K.
        step_size: A scalar, one for each dimension (d,), or for each step and dimension, (K, d) or (K, 1).
        damping: nu >= 0.
        noise_scale: sigma. Above 0, fresh noise is drawn at every step, and the Jacobian is that of the map for it.
        max_kick: See ``quasi_symplectic.step``.
        generator: The source of the noise; None means torch's default one.
        create_graph: Keep the result differentiable through the force.
        checkpoint_steps: With ``create_graph``, keep no step's graph: each is computed again in the backward pass.
            Memory then does not grow with K, and gradients of the potential are made more than once.

    Returns:
        The end and the log-determinant. QSL-VAE paper, Algorithm 1, corrected (docs/mathematics.md, corrections 2 to
        4).
    """
    integrate = partial(quasi_symplectic.step, max_kick=max_kick, create_graph=create_graph)
    step = partial(recomputed, integrate) if create_graph and checkpoint_steps else integrate
    log_det = state.position.new_zeros(())
    for k in range(num_steps):
        t = step_size_at(step_size, k)
        noise = None
        if isinstance(noise_scale, Tensor) or noise_scale > 0:
            noise = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)
        log_det = log_det + quasi_symplectic.log_det_jacobian(state, step_size=t, damping=damping)
        state = step(state, potential, step_size=t, damping=damping, noise_scale=noise_scale, noise=noise)
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
    """Push phase-space points through leapfrog steps; exactly ``num_steps`` + 1 gradients of the potential.

    Args:
        state: The start.
        potential: U, in nats.
        num_steps: K.
        step_size: As in ``quasi_symplectic_flow``.
        velocity_scales: alpha (K,). The velocity is multiplied by alpha_k after step k (tempering; schedules are in
            ``tempering``), so log |det J| = d * sum_k log alpha_k. Without it that is 0.
        create_graph: As in ``quasi_symplectic_flow``.
        checkpoint_steps: As in ``quasi_symplectic_flow``.

    Returns:
        The end and the log-determinant. Hamiltonian VAE (Caterini et al. 2018), Algorithm 1.
    """
    begin, step = (partial(function, create_graph=create_graph) for function in (leapfrog.init, leapfrog.step))
    if create_graph and checkpoint_steps:
        begin, step = partial(recomputed, begin), partial(recomputed, step)
    current = begin(*state, potential)
    for k in range(num_steps):
        current = step(current, potential, step_size=step_size_at(step_size, k))
        if velocity_scales is not None:
            current = current._replace(velocity=velocity_scales[k] * current.velocity)
    log_det = state.position.new_zeros(())
    if velocity_scales is not None:
        log_det = state.position.shape[-1] * velocity_scales.log().sum()
    return FlowResult(PhaseState(current.position, current.velocity), log_det.expand(state.position.shape[:-1]))


def step_size_at(step_size: Scalar, k: int) -> Scalar:
    """The step size of one step of a flow.

    Args:
        step_size: A scalar, (d,), (num_steps, d) or (num_steps, 1).
        k: The number of the step, from 0.

    Returns:
        Row k where there is a row for each step, else ``step_size`` itself.
    """
    return step_size[k] if isinstance(step_size, Tensor) and step_size.ndim == 2 else step_size


def recomputed(function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Call a function, drop its graph, and make the graph again in the backward pass.

    Args:
        function: What to call. It must be deterministic: noise is drawn before and passed in.
        arguments: Its arguments by position.
        options: Its arguments by name.

    Returns:
        What the function returns.
    """
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False, **options)
