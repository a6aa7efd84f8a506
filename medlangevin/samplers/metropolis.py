"""The Metropolis-Hastings test that the adjusted kernels share."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from medlangevin.system.random import uniform

State = TypeVar("State", bound=NamedTuple)

# A proposal whose log acceptance ratio is below minus this many nats comes from an integrator that has left the
# dynamics, not from bad luck; the threshold is the one in common use (Stan, BlackJAX).
DIVERGENCE_NATS = 1000.0


class Info(NamedTuple):
    """Per chain (chains,): the proposal's ``acceptance_probability``, whether it ``is_accepted``, and ``is_divergent``.

    A proposal is divergent where its log acceptance ratio is below -1000 nats or no finite number.
    """

    acceptance_probability: Tensor
    is_accepted: Tensor
    is_divergent: Tensor


def decide(log_ratio: Tensor, proposal_value: Tensor, generator: torch.Generator | None = None) -> Info:
    """Accept with probability min(1, exp(``log_ratio``)), each chain for itself; both arguments (chains,).

    ``proposal_value`` is the potential at the proposal. Where it is not finite, or the ratio is no number, the proposal
    is rejected. A start of infinite potential, however, is left by the first finite proposal.
    """
    invalid = log_ratio.isnan() | ~proposal_value.isfinite()
    log_ratio = log_ratio.masked_fill(invalid, -torch.inf)
    draw = uniform(tuple(log_ratio.shape), like=log_ratio, generator=generator)
    return Info(log_ratio.clamp(max=0).exp(), draw.log() < log_ratio, log_ratio < -DIVERGENCE_NATS)


def choose(is_accepted: Tensor, proposal: State, current: State) -> State:
    """The state with the rows of ``proposal`` where accepted and of ``current`` elsewhere; fields (chains, ...)."""

    def rows(field: Tensor) -> Tensor:
        return is_accepted.reshape(is_accepted.shape + (1,) * (field.ndim - is_accepted.ndim))

    return current._make(torch.where(rows(new), new, old) for new, old in zip(proposal, current, strict=True))
