"""Underdamped Langevin dynamics as a Markov kernel, by the quasi-symplectic (QSL) integrator; unadjusted.

QSL-VAE paper (Wang & Delingette 2021), Eq. 5, corrected (docs/mathematics.md, correction 1).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import quasi_symplectic
from medlangevin.samplers.potential import Potential
from medlangevin.samplers.quasi_symplectic import PhaseState as State
from medlangevin.system.random import standard_normal

__all__ = ["Info", "State", "init", "step"]


class Info(NamedTuple):
    """``is_divergent`` (chains,): the position or velocity is no finite number any more, and will not be again."""

    is_divergent: Tensor


def init(
    position: Tensor, potential: Potential, generator: torch.Generator | None = None, *, temperature: float = 1.0
) -> State:
    """The state at ``position`` (chains, d) with a velocity from N(0, ``temperature`` I); no gradient.

    ``potential`` is not called: the step's only gradient is taken half-way through it, so there is none to carry. It is
    asked for so that all kernels start alike.
    """
    velocity = standard_normal(tuple(position.shape), like=position, generator=generator)
    return State(position.detach(), math.sqrt(temperature) * velocity)


def step(
    state: State,
    potential: Potential,
    generator: torch.Generator | None = None,
    *,
    step_size: float | Tensor,
    damping: float,
    temperature: float = 1.0,
    noise_scale: float | None = None,
) -> tuple[State, Info]:
    """One QSL step with fresh noise; one gradient.

    ``step_size`` t: a scalar or (d,); ``damping`` nu >= 0 per unit of time. ``noise_scale`` sigma is
    sqrt(2 nu ``temperature``) unless given: then N(velocity; 0, T I) exp(-U(position) / T) is invariant up to an error
    of order t^2. The paper's 2 sqrt(T) samples another temperature, 2 T / nu.
    """
    sigma = math.sqrt(2 * damping * temperature) if noise_scale is None else noise_scale
    noise = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)
    following = quasi_symplectic.step(
        state, potential, step_size=step_size, damping=damping, noise_scale=sigma, noise=noise
    )
    finite = following.position.isfinite().all(-1) & following.velocity.isfinite().all(-1)
    return following, Info(~finite)
