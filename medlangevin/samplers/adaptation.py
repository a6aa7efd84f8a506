"""Dual averaging: a step size that reaches a wanted acceptance during burn-in and is frozen afterwards.

Nesterov 2009, as used for HMC by Hoffman & Gelman 2014, section 3.2.1 and Algorithm 5, with their constants.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

_GAMMA, _OFFSET, _DECAY = 0.05, 10.0, 0.75


class Adaptation(NamedTuple):
    """What to adapt: the ``step_size`` to start from, a scalar or (d,), and the mean acceptance it is to reach.

    ``target_acceptance`` in (0, 1): 0.574 is optimal for MALA and 0.65 for HMC in high dimension; up to 0.8 is safer
    for HMC on awkward targets. A (d,) step size is scaled as a whole; the ratios within it stay.
    """

    step_size: float | Tensor
    target_acceptance: float


class State(NamedTuple):
    """``step_size`` to use next, its weighted average ``averaged`` to freeze, and the running sums behind them."""

    step_size: Tensor
    averaged: Tensor
    centre: Tensor
    mean_error: Tensor
    num_steps: int


def init(step_size: float | Tensor) -> State:
    """The state before the first step. The search is drawn to ten times ``step_size``, as large steps are cheap."""
    start = torch.as_tensor(step_size, dtype=torch.float64)
    return State(start, start, start.log() + math.log(10), torch.zeros((), dtype=torch.float64, device=start.device), 0)


def update(state: State, acceptance_probability: Tensor, *, target_acceptance: float) -> State:
    """The state after a step with these acceptance probabilities (any shape): one step size for all chains."""
    count = state.num_steps + 1
    acceptance = acceptance_probability.double().mean().to(state.mean_error.device)
    weight = 1 / (count + _OFFSET)
    mean_error = (1 - weight) * state.mean_error + weight * (target_acceptance - acceptance)
    log_step = state.centre - math.sqrt(count) / _GAMMA * mean_error
    share = count**-_DECAY
    averaged = share * log_step + (1 - share) * state.averaged.log()
    return State(log_step.exp(), averaged.exp(), state.centre, mean_error, count)
