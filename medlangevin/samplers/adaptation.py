"""Robbins-Monro adaptation: a step size that reaches a wanted acceptance during burn-in and is frozen afterwards.

Andrieu & Thoms 2008, A tutorial on adaptive MCMC, Algorithm 4, the recursion for the scale; with Kesten's rule (1958)
the gain falls only when the error changes its sign, so that a start far off is soon left. Dual averaging (Hoffman &
Gelman 2014) was tried first: its iterates keep jumping, and where the acceptance falls steeply with the step size,
as that of HMC does at the stability limit, their average missed a target of 0.65 by 0.1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Gains n^-0.6: their sum diverges, so that any start can be left, and the sum of their squares does not.
_GAIN_EXPONENT = 0.6


class Adaptation(NamedTuple):
    """What to adapt: the ``step_size`` to start from, a scalar or (d,), and the mean acceptance it is to reach.

    ``target_acceptance`` in (0, 1): 0.574 is optimal for MALA and 0.65 for HMC in high dimension; up to 0.8 is safer
    for HMC on awkward targets. A (d,) step size is scaled as a whole; the ratios within it stay. A (chains, 1) step
    size is adapted for each chain alone, by its own acceptance, so that chains do not influence one another.
    """

    step_size: float | Tensor
    target_acceptance: float


class State(NamedTuple):
    """The ``step_size`` to use next, float64, the last ``error`` of the acceptance, and its sign changes so far.

    The latter two are 0-d, or (chains, 1) with a step size for each chain.
    """

    step_size: Tensor
    error: Tensor
    num_sign_changes: Tensor


def init(step_size: float | Tensor) -> State:
    """The state before the first step."""
    start = torch.as_tensor(step_size, dtype=torch.float64)
    zero = torch.zeros_like(start) if _is_per_chain(start) else start.new_zeros(())
    return State(start, zero, zero)


def update(state: State, acceptance_probability: Tensor, *, target_acceptance: float) -> State:
    """log step <- log step + (1 + m)^-0.6 (mean acceptance - target), m sign changes so far.

    ``acceptance_probability``: that of the step just made, any shape; (chains,) for a step size for each chain.
    """
    acceptance = acceptance_probability.double().to(state.step_size.device)
    error = (acceptance[:, None] if _is_per_chain(state.step_size) else acceptance.mean()) - target_acceptance
    num_sign_changes = state.num_sign_changes + (error * state.error < 0)
    gain = (1 + num_sign_changes) ** -_GAIN_EXPONENT
    return State(state.step_size * torch.exp(gain * error), error, num_sign_changes)


def _is_per_chain(step_size: Tensor) -> bool:
    return step_size.ndim == 2
