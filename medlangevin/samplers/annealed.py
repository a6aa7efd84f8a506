"""The annealed quasi-symplectic flow: underdamped Langevin steps along a path of densities from q to the target.

Beyond the QSL-VAE paper: differentiable annealed importance sampling (Zhang et al. 2021; Geffner & Domke 2021) with
the paper's integrator, drift, kick, drift between damping steps (docs/mathematics.md, the annealed bound).
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import quasi_symplectic
from medlangevin.samplers.flow import recomputed, step_size_at
from medlangevin.samplers.potential import Potential, Scalar, scalar_like
from medlangevin.samplers.quasi_symplectic import PhaseState
from medlangevin.system.random import standard_normal


class AnnealedFlowResult(NamedTuple):
    """Where an annealed flow ended.

    Attributes:
        state: The end of the path, position and velocity.
        log_weight: Logarithm of the backward over the forward kernels along the path, (chains,) float64.
    """

    state: PhaseState
    log_weight: Tensor


def annealed_flow(
    position: Tensor,
    initial: Potential,
    target: Potential,
    *,
    fractions: Tensor,
    step_size: Scalar,
    damping: Scalar,
    max_kick: float = math.inf,
    generator: torch.Generator | None = None,
    create_graph: bool = False,
    checkpoint_steps: bool = False,
) -> AnnealedFlowResult:
    """Move draws of exp(-``initial``) towards the target in K steps; exactly K gradients of ``target``.

    Before every step but the first, the velocity is refreshed by an exact Ornstein-Uhlenbeck step over time t. It
    leaves N(0, I) invariant and is reversible, so only the change of kinetic energy over each Verlet step enters the
    weight: exp(log_weight - target(end)) / q(start) is unbiased for the integral of exp(-target), where q is the
    density that ``position`` was drawn from.

    Args:
        position: Draws of exp(-``initial``), (chains, d).
        initial: The potential at the start of the path, in nats.
        target: The potential at its end, in nats.
        fractions: b_k (K,), 0 < b_1 < ... < b_K = 1; step k follows U_k = (1 - b_k) ``initial`` + b_k ``target``.
        step_size: t, a scalar, (d,), (K, 1) or (K, d).
        damping: nu > 0, or the number 0 for no refreshment.
        max_kick: See ``quasi_symplectic.step``.
        generator: The source of velocities and noise; None means torch's default one.
        create_graph: As in ``quasi_symplectic_flow``.
        checkpoint_steps: As in ``quasi_symplectic_flow``.

    Returns:
        The end of the path and the log weights.
    """
    integrate = partial(quasi_symplectic.step, damping=0.0, max_kick=max_kick, create_graph=create_graph)
    step = partial(recomputed, integrate) if create_graph and checkpoint_steps else integrate
    velocity = standard_normal(tuple(position.shape), like=position, generator=generator)
    log_weight = torch.zeros(position.shape[:-1], dtype=torch.float64, device=position.device)
    for k, fraction in enumerate(fractions):
        t = scalar_like(step_size_at(step_size, k), position)
        if k > 0 and (isinstance(damping, Tensor) or damping > 0):
            noise = standard_normal(tuple(position.shape), like=position, generator=generator)
            decay = damping * t
            velocity = torch.exp(-decay) * velocity + (-torch.expm1(-2 * decay)).sqrt() * noise

        def bridge(z: Tensor, b: Tensor = fraction) -> Tensor:
            return (1 - b) * initial(z) + b * target(z)

        before = velocity
        position, velocity = step(PhaseState(position, velocity), bridge, step_size=t)
        log_weight = log_weight + 0.5 * (before.double().square() - velocity.double().square()).sum(-1)
    return AnnealedFlowResult(PhaseState(position, velocity), log_weight)
