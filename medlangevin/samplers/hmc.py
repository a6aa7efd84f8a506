"""Hamiltonian Monte Carlo (HMC): leapfrog steps from a fresh velocity, and an accept/reject test for each chain.

With v ~ N(0, I) and H(z, v) = U(z) + |v|^2 / 2, L leapfrog steps lead from (z, v) to (z', v'), and z' is accepted with
probability min(1, exp(H(z, v) - H(z', v'))). It leaves exp(-U) invariant. Duane et al. 1987, Hybrid Monte Carlo; Neal
2011, Handbook of MCMC, chapter 5.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import leapfrog, metropolis
from medlangevin.samplers.potential import Potential, Scalar
from medlangevin.samplers.ula import State, init
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.random import standard_normal, uniform

__all__ = ["Info", "State", "init", "step"]


class Info(NamedTuple):
    """The outcome of the tests as in ``metropolis.Info``, and the energy of the proposals; all (chains,).

    Attributes:
        acceptance_probability: Between 0 and 1.
        is_accepted: Whether the proposal was taken.
        is_divergent: Whether the energy exceeds that of the start by more than 1000 nats, or is NaN or infinity.
        energy: H = U + |velocity|^2 / 2 of the proposal, in nats.
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
    step_size: Scalar,
    num_steps: int,
    jitter: float = 0.0,
) -> tuple[State, Info]:
    """One trajectory and one test for each chain; ``num_steps`` new gradients.

    The value and gradient of the current state are carried along and start the trajectory. A proposal whose energy is
    not finite is rejected.

    Args:
        state: Where the chains are.
        potential: U, in nats.
        generator: The source of all randomness; None means torch's default one.
        step_size: t of a leapfrog step, a scalar or (d,).
        num_steps: L, the leapfrog steps of a trajectory, at least 1.
        jitter: Each chain multiplies t by a number between 1 - ``jitter`` and 1 + ``jitter``, drawn anew: trajectories
            of one length can come back to where they started, again and again.

    Returns:
        The next state, and the outcome of the tests.

    Raises:
        MedlangevinError: For fewer leapfrog steps than one.
    """
    if num_steps < 1:
        raise MedlangevinError(f"hmc: num_steps {num_steps} moves nothing; give at least 1 leapfrog step")
    if jitter > 0:
        share = uniform((*state.position.shape[:-1], 1), like=state.position, generator=generator)
        step_size = step_size * (1 + jitter * (2 * share - 1))
    velocity = standard_normal(tuple(state.position.shape), like=state.position, generator=generator)
    start = end = leapfrog.State(state.position, velocity, state.value, state.gradient)
    for _ in range(num_steps):
        end = leapfrog.step(end, potential, step_size=step_size)
    energy = _energy(end)
    outcome = metropolis.decide(_energy(start) - energy, end.value, generator)
    proposal = State(end.position, end.value, end.gradient)
    return metropolis.choose(outcome.is_accepted, proposal, state), Info(*outcome, energy)


def _energy(state: leapfrog.State) -> Tensor:
    return state.value + 0.5 * state.velocity.square().sum(-1)
