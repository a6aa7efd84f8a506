"""The Metropolis-adjusted Langevin algorithm (MALA): a ULA proposal and an accept/reject test per chain."""

import torch
from torch import Tensor

from medlangevin.samplers import ula
from medlangevin.samplers.metropolis import Info, choose, decide
from medlangevin.samplers.potential import Potential
from medlangevin.samplers.scalar import scalar_like
from medlangevin.samplers.ula import State, init

__all__ = ["Info", "State", "init", "step"]


def step(
    state: State, potential: Potential, generator: torch.Generator | None = None, *, step_size: float | Tensor
) -> tuple[State, Info]:
    """One proposal and test per chain; one new gradient, as value and gradient of the current state are carried along.

    ``step_size`` eta: a scalar or (d,). Leaves exp(-U) invariant. A proposal whose potential is not finite is
    rejected.
    """
    eta = scalar_like(step_size, state.position)
    proposal, _ = ula.step(state, potential, generator, step_size=step_size)
    log_ratio = (
        state.value
        - proposal.value
        + _log_transition(proposal, state.position, eta)
        - _log_transition(state, proposal.position, eta)
    )
    info = decide(log_ratio, proposal.value, generator)
    return choose(info.is_accepted, proposal, state), info


def _log_transition(start: State, end: Tensor, eta: Tensor) -> Tensor:
    """log q(end | start) of the asymmetric Langevin proposal, without the constant that cancels. (chains,)."""
    residual = end - start.position + eta * start.gradient
    return -(residual.square() / (4 * eta)).sum(-1)
