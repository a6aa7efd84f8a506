"""Tempering schedules of a Hamiltonian flow: the factors alpha_k by which the velocity is cooled after step k.

The velocity starts at temperature T0 >= 1 and ends at 1: prod_k alpha_k = T0^(-1/2).
Hamiltonian VAE (Caterini et al. 2018), section 3.2.
"""

import torch
from torch import Tensor


def quadratic_schedule(initial_temperature: Tensor, num_steps: int) -> Tensor:
    """The schedule alpha_k = sqrt(T_k / T_{k-1}), T_k = (1 - T0) k^2 / K^2 + T0, for k = 1..K.

    Args:
        initial_temperature: T0, a 0-d tensor; the result is differentiable in it.
        num_steps: K.

    Returns:
        The factors alpha, (K,).
    """
    k = torch.arange(num_steps + 1, dtype=initial_temperature.dtype, device=initial_temperature.device)
    temperatures = (1 - initial_temperature) * (k / num_steps).square() + initial_temperature
    return (temperatures[1:] / temperatures[:-1]).sqrt()


def initial_temperature(velocity_scales: Tensor) -> Tensor:
    """The temperature T0 = (prod_k alpha_k)^(-2) that free factors cool down to 1.

    Args:
        velocity_scales: The factors alpha in (0, 1), (K,).

    Returns:
        T0, a 0-d tensor.
    """
    return torch.exp(-2 * velocity_scales.log().sum())
