"""The unadjusted Langevin algorithm (ULA): Euler-Maruyama steps of overdamped Langevin dynamics.

    z' = z - eta grad U(z) + sqrt(2 eta) xi,  xi ~ N(0, I)

Its stationary density differs from exp(-U) by an error of order eta; ``mala`` removes it. Roberts & Tweedie 1996,
Exponential convergence of Langevin distributions and their discrete approximations.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import euler_maruyama
from medlangevin.samplers.kernel import UnadjustedInfo as Info
from medlangevin.samplers.potential import Potential, Scalar, evaluate
from medlangevin.system.random import standard_normal

__all__ = ["Info", "State", "init", "step"]


class State(NamedTuple):
    """Where the chains are, with the potential there. MALA and HMC share it.

    Attributes:
        position: (chains, d).
        value: U there in nats, (chains,).
        gradient: Its gradient, (chains, d).
    """

    position: Tensor
    value: Tensor
    gradient: Tensor


def init(position: Tensor, potential: Potential) -> State:
    """The state at a position; one gradient.

    Args:
        position: (chains, d).
        potential: U, in nats.

    Returns:
        The state, detached from the graph of ``position``.
    """
    return State(position.detach(), *evaluate(potential, position))


def step(
    state: State, potential: Potential, generator: torch.Generator | None = None, *, step_size: Scalar
) -> tuple[State, Info]:
    """One Langevin step, which is always taken; one new gradient.

    Args:
        state: Where the chains are.
        potential: U, in nats.
        generator: The source of the noise; None means torch's default one.
        step_size: eta, a scalar or (d,).

    Returns:
        The next state, and which chains are divergent: those whose potential or position is NaN or infinity.
    """
    noise = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)
    position = euler_maruyama.step(state.position, state.gradient, step_size=step_size, noise=noise)
    following = init(position, potential)
    return following, Info(~(following.value.isfinite() & position.isfinite().all(-1)))
