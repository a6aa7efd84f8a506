"""The Metropolis-adjusted Langevin algorithm (MALA): a ULA proposal and an accept/reject test per chain."""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import ula
from medlangevin.samplers.potential import Potential
from medlangevin.samplers.random import uniform
from medlangevin.samplers.ula import State, init

__all__ = ["Info", "State", "init", "step"]


class Info(NamedTuple):
    """Per chain (chains,): the ``acceptance_probability`` of the proposal and whether it ``is_accepted``."""

    acceptance_probability: Tensor
    is_accepted: Tensor


def step(
    state: State, potential: Potential, generator: torch.Generator | None = None, *, step_size: float | Tensor
) -> tuple[State, Info]:
    """One proposal and test per chain; one new gradient, as value and gradient of the current state are carried along.

    ``step_size`` eta: a scalar or (d,). Leaves exp(-U) invariant. A proposal whose potential is not finite is
    rejected.
    """
    eta = torch.as_tensor(step_size, dtype=state.position.dtype, device=state.position.device)
    proposal, _ = ula.step(state, potential, generator, step_size=step_size)
    log_ratio = (
        state.value
        - proposal.value
        + _log_transition(proposal, state.position, eta)
        - _log_transition(state, proposal.position, eta)
    )
    log_ratio = torch.nan_to_num(log_ratio, nan=-torch.inf, neginf=-torch.inf)
    draw = uniform(tuple(log_ratio.shape), like=log_ratio, generator=generator)
    accepted = draw.log() < log_ratio
    rows = accepted.unsqueeze(-1)
    following = State(
        torch.where(rows, proposal.position, state.position),
        torch.where(accepted, proposal.value, state.value),
        torch.where(rows, proposal.gradient, state.gradient),
    )
    return following, Info(log_ratio.clamp(max=0).exp(), accepted)


def _log_transition(start: State, end: Tensor, eta: Tensor) -> Tensor:
    """log q(end | start) of the asymmetric Langevin proposal, without the constant that cancels. (chains,)."""
    residual = end - start.position + eta * start.gradient
    return -(residual.square() / (4 * eta)).sum(-1)
