"""The Metropolis-adjusted Langevin algorithm (MALA): a ULA proposal and an accept/reject test for each chain.

    z' = z - eta grad U(z) + sqrt(2 eta) xi,  accepted with probability min(1, exp(U(z) - U(z')) q(z | z') / q(z' | z))

with q(z' | z) = N(z'; z - eta grad U(z), 2 eta I). It leaves exp(-U) invariant. Roberts & Tweedie 1996, Exponential
convergence of Langevin distributions and their discrete approximations.
"""

import torch
from torch import Tensor

from medlangevin.samplers import ula
from medlangevin.samplers.metropolis import Info, choose, decide
from medlangevin.samplers.potential import Potential, Scalar, scalar_like
from medlangevin.samplers.ula import State, init

__all__ = ["Info", "State", "init", "step"]


def step(
    state: State, potential: Potential, generator: torch.Generator | None = None, *, step_size: Scalar
) -> tuple[State, Info]:
    """One proposal and one test for each chain; one new gradient, as the state carries value and gradient along.

    A proposal whose potential is not finite is rejected.

    Args:
        state: Where the chains are.
        potential: U, in nats.
        generator: The source of all randomness; None means torch's default one.
        step_size: eta, a scalar or (d,).

    Returns:
        The next state, and the outcome of the tests.
    """
    eta = scalar_like(step_size, state.position)
    proposal, _ = ula.step(state, potential, generator, step_size=step_size)
    forward = _log_transition(state, proposal.position, eta)
    backward = _log_transition(proposal, state.position, eta)
    info = decide(state.value - proposal.value + backward - forward, proposal.value, generator)
    return choose(info.is_accepted, proposal, state), info


def _log_transition(start: State, end: Tensor, eta: Tensor) -> Tensor:
    """log q(end | start) of the asymmetric Langevin proposal, without the constant that cancels. (chains,)."""
    residual = end - start.position + eta * start.gradient
    return -(residual.square() / (4 * eta)).sum(-1)
