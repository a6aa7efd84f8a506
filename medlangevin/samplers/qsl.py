"""Underdamped Langevin dynamics as a Markov kernel, by the quasi-symplectic (QSL) integrator; unadjusted.

One step at damping nu, temperature T and noise xi ~ N(0, I):

    v <- exp(-nu t / 2) v;  z <- z + (t / 2) v;  v <- v - t grad U(z) + sqrt(t) sigma xi;  z <- z + (t / 2) v;
    v <- exp(-nu t / 2) v

With sigma = sqrt(2 nu T), N(v; 0, T I) exp(-U(z) / T) is invariant up to an error of order t^2. QSL-VAE paper (Wang &
Delingette 2021), Eq. 5, corrected (docs/mathematics.md, correction 1).
"""

import math

import torch
from torch import Tensor

from medlangevin.samplers import quasi_symplectic
from medlangevin.samplers.kernel import UnadjustedInfo as Info
from medlangevin.samplers.potential import Potential, Scalar
from medlangevin.samplers.quasi_symplectic import PhaseState
from medlangevin.system.random import standard_normal

__all__ = ["Info", "State", "init", "step"]


class State(PhaseState):
    """A point in phase space: ``position`` and ``velocity``, each (chains, d).

    Attributes:
        value: None. The only gradient of a step is taken half-way, so there is no potential to carry along.
    """

    value: None = None


def init(
    position: Tensor, potential: Potential, generator: torch.Generator | None = None, *, temperature: float = 1.0
) -> State:
    """The state at a position with a random velocity; no gradient.

    Args:
        position: (chains, d).
        potential: Not called; it is an argument so that all kernels start alike.
        generator: The source of the velocity; None means torch's default one.
        temperature: T; the velocity is drawn from N(0, T I).

    Returns:
        The state, detached from the graph of ``position``.
    """
    velocity = standard_normal(tuple(position.shape), like=position, generator=generator)
    return State(position.detach(), math.sqrt(temperature) * velocity)


def step(
    state: State,
    potential: Potential,
    generator: torch.Generator | None = None,
    *,
    step_size: Scalar,
    damping: float,
    temperature: float = 1.0,
    noise_scale: float | None = None,
) -> tuple[State, Info]:
    """One QSL step with fresh noise, which is always taken; one gradient.

    Args:
        state: Where the chains are.
        potential: U, in nats.
        generator: The source of the noise; None means torch's default one.
        step_size: t, a scalar or (d,).
        damping: nu >= 0 per unit of time.
        temperature: T.
        noise_scale: sigma, sqrt(2 nu T) unless given. The paper's 2 sqrt(T) samples another temperature, 2 T / nu.

    Returns:
        The next state, and which chains are divergent: those whose position or velocity is NaN or infinity. They stay
        so.
    """
    sigma = math.sqrt(2 * damping * temperature) if noise_scale is None else noise_scale
    noise = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)
    following = quasi_symplectic.step(
        state, potential, step_size=step_size, damping=damping, noise_scale=sigma, noise=noise
    )
    finite = following.position.isfinite().all(-1) & following.velocity.isfinite().all(-1)
    return State(*following), Info(~finite)
