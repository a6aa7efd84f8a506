"""The Metropolis-Hastings test that the adjusted kernels share.

A proposal z' from q(z' | z) is accepted with probability min(1, exp(U(z) - U(z')) q(z | z') / q(z' | z)). Metropolis et
al. 1953; Hastings 1970, Monte Carlo sampling methods using Markov chains and their applications.
"""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from medlangevin.system.random import uniform

StateT = TypeVar("StateT", bound=NamedTuple)

# A proposal whose log acceptance ratio is below minus this many nats comes from an integrator that has left the
# dynamics, not from bad luck; the threshold is the one in common use (Stan, BlackJAX).
DIVERGENCE_NATS = 1000.0


class Info(NamedTuple):
    """The outcome of a test for each chain; all (chains,).

    Attributes:
        acceptance_probability: Between 0 and 1.
        is_accepted: Whether the proposal was taken.
        is_divergent: Whether the proposal's log acceptance ratio is below -1000 nats or NaN, or its potential is not
            finite.
    """

    acceptance_probability: Tensor
    is_accepted: Tensor
    is_divergent: Tensor


def decide(log_ratio: Tensor, proposal_value: Tensor, generator: torch.Generator | None = None) -> Info:
    """Accept with probability min(1, exp(``log_ratio``)), each chain for itself.

    Where the potential at the proposal is not finite, or the ratio is NaN, the proposal is rejected. A start of
    infinite potential, however, is left by the first finite proposal.

    Args:
        log_ratio: The log acceptance ratio, (chains,).
        proposal_value: The potential at the proposal, (chains,).
        generator: The source of the decisions; None means torch's default one.

    Returns:
        The outcome of each chain's test.
    """
    invalid = log_ratio.isnan() | ~proposal_value.isfinite()
    log_ratio = log_ratio.masked_fill(invalid, -torch.inf)
    draw = uniform(tuple(log_ratio.shape), like=log_ratio, generator=generator)
    return Info(log_ratio.clamp(max=0).exp(), draw.log() < log_ratio, log_ratio < -DIVERGENCE_NATS)


def choose(is_accepted: Tensor, proposal: StateT, current: StateT) -> StateT:
    """The proposal's rows where it was accepted, and the current state's rows elsewhere.

    Args:
        is_accepted: (chains,), bool.
        proposal: A state whose fields are (chains, ...).
        current: A state of the same type.

    Returns:
        A new state of that type.
    """

    def rows(field: Tensor) -> Tensor:
        return is_accepted.reshape(is_accepted.shape + (1,) * (field.ndim - is_accepted.ndim))

    return current._make(torch.where(rows(new), new, old) for new, old in zip(proposal, current, strict=True))
