"""Robbins-Monro adaptation: a step size that reaches a wanted acceptance during burn-in and is frozen afterwards.

Andrieu & Thoms 2008, A tutorial on adaptive MCMC, Algorithm 4, the recursion for the scale; with Kesten's rule (1958)
the gain falls only when the error changes its sign, so that a start far off is soon left. Dual averaging (Hoffman &
Gelman 2014) was tried first: its iterates keep jumping, and where the acceptance falls steeply with the step size,
as that of HMC does at the stability limit, their average missed a target of 0.65 by 0.1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers.potential import Scalar

# Gains n^-0.6: their sum diverges, so that any start can be left, and the sum of their squares does not.
_GAIN_EXPONENT = 0.6


class Adaptation(NamedTuple):
    """What to adapt: the step size to start from, and the mean acceptance that it is to reach.

    Attributes:
        step_size: A scalar; (d,), which is scaled as a whole, so that the ratios within it stay; or (chains, 1), which
            is adapted for each chain alone by its own acceptance, so that chains do not influence one another.
        target_acceptance: In (0, 1): 0.574 is optimal for MALA and 0.65 for HMC in high dimension; up to 0.8 is safer
            for HMC on awkward targets.
    """

    step_size: Scalar
    target_acceptance: float


class State(NamedTuple):
    """Where the recursion is.

    Attributes:
        step_size: The one to use next, float64.
        error: The last acceptance minus its target; 0-d, or (chains, 1) with a step size for each chain.
        num_sign_changes: How often the error has changed its sign so far, of the same shape.
    """

    step_size: Tensor
    error: Tensor
    num_sign_changes: Tensor


def init(step_size: Scalar) -> State:
    """The state before the first step.

    Args:
        step_size: The one to start from, a scalar, (d,) or (chains, 1).

    Returns:
        The state, with no error so far.
    """
    start = torch.as_tensor(step_size, dtype=torch.float64)
    zero = torch.zeros_like(start) if _is_per_chain(start) else start.new_zeros(())
    return State(start, zero, zero)


def update(state: State, acceptance_probability: Tensor, *, target_acceptance: float) -> State:
    """Follow one step: log step <- log step + (1 + m)^-0.6 (mean acceptance - target), m sign changes so far.

    Args:
        state: Where the recursion is.
        acceptance_probability: That of the step just made, of any shape; (chains,) for a step size for each chain.
        target_acceptance: The mean to reach.

    Returns:
        The next state.
    """
    acceptance = acceptance_probability.double().to(state.step_size.device)
    error = (acceptance[:, None] if _is_per_chain(state.step_size) else acceptance.mean()) - target_acceptance
    num_sign_changes = state.num_sign_changes + (error * state.error < 0)
    gain = (1 + num_sign_changes) ** -_GAIN_EXPONENT
    return State(state.step_size * torch.exp(gain * error), error, num_sign_changes)


def _is_per_chain(step_size: Tensor) -> bool:
    return step_size.ndim == 2
