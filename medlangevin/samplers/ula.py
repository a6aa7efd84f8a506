"""The unadjusted Langevin algorithm (ULA): Euler-Maruyama steps of overdamped Langevin dynamics."""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import euler_maruyama
from medlangevin.samplers.potential import Potential, evaluate
from medlangevin.system.random import standard_normal


class State(NamedTuple):
    """``position`` (chains, d) with the potential's ``value`` (chains,) and ``gradient`` (chains, d) there."""

    position: Tensor
    value: Tensor
    gradient: Tensor


class Info(NamedTuple):
    """``is_divergent`` (chains,): the potential or the position is no finite number."""

    is_divergent: Tensor


def init(position: Tensor, potential: Potential) -> State:
    """The state at ``position`` (chains, d); one gradient."""
    return State(position.detach(), *evaluate(potential, position))


def step(
    state: State, potential: Potential, generator: torch.Generator | None = None, *, step_size: float | Tensor
) -> tuple[State, Info]:
    """z' = z - eta grad U(z) + sqrt(2 eta) xi; one new gradient. ``step_size`` eta: a scalar or (d,).

    Its stationary density differs from exp(-U) by an error of order eta; ``mala`` removes it.
    """
    noise = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)
    position = euler_maruyama.step(state.position, state.gradient, step_size=step_size, noise=noise)
    following = init(position, potential)
    return following, Info(~(following.value.isfinite() & position.isfinite().all(-1)))
