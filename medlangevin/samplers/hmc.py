"""Hamiltonian Monte Carlo (HMC): leapfrog steps from a fresh velocity, and an accept/reject test per chain.

Duane et al. 1987; Neal 2011, Handbook of MCMC, chapter 5.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import leapfrog, metropolis
from medlangevin.samplers.potential import Potential
from medlangevin.samplers.ula import State, init
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.random import standard_normal

__all__ = ["Info", "State", "init", "step"]


class Info(NamedTuple):
    """Per chain (chains,): the test's outcome as in ``metropolis.Info``, and the proposal's ``energy`` in nats.

    The energy is U + |velocity|^2 / 2; ``is_divergent`` where it exceeds that of the start by more than 1000 nats or is
    no finite number.
    """

    acceptance_probability: Tensor
    is_accepted: Tensor
    is_divergent: Tensor
    energy: Tensor


def step(
    state: State,
    potential: Potential,
    generator: torch.Generator | None = None,
    *,
    step_size: float | Tensor,
    num_steps: int,
) -> tuple[State, Info]:
    """One trajectory of ``num_steps`` leapfrog steps and one test per chain; ``num_steps`` new gradients.

    The value and gradient of the current state are carried along and start the trajectory. ``step_size`` t: a scalar
    or (d,). Leaves exp(-U) invariant. A proposal whose energy is not finite is rejected. Raises MedlangevinError for
    fewer steps than one.
    """
    if num_steps < 1:
        raise MedlangevinError(f"hmc: num_steps {num_steps} moves nothing; give at least 1 leapfrog step")
    velocity = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)
    start = leapfrog.State(state.position, velocity, state.value, state.gradient)
    end = start
    for _ in range(num_steps):
        end = leapfrog.step(end, potential, step_size=step_size)
    energy = _energy(end)
    outcome = metropolis.decide(_energy(start) - energy, end.value, generator)
    proposal = State(end.position, end.value, end.gradient)
    return metropolis.choose(outcome.is_accepted, proposal, state), Info(*outcome, energy)


def _energy(state: leapfrog.State) -> Tensor:
    return state.value + 0.5 * state.velocity.square().sum(-1)
