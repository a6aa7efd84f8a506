"""Gaussian variational inference, each data point with parameters of its own (no encoder: no amortization gap)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential

# Enough nodes for the kinks of ReLU networks; an ELBO without noise converges to the optimum itself.
NODES_PER_DIMENSION = 12


class GaussianFit(NamedTuple):
    """q(z) = N(``mean``, ``scale_tril`` ``scale_tril``^T) of each data point, (n, d) and (n, d, d); ``elbo`` (n,)."""

    mean: Tensor
    scale_tril: Tensor
    elbo: Tensor


def fit_gaussian(
    log_joint: Potential,
    num_points: int,
    *,
    dim: int = 2,
    full_covariance: bool,
    num_steps: int,
    learning_rate: float = 0.05,
    on_step: Callable[[int], None] | None = None,
) -> GaussianFit:
    """Maximise the ELBO of each data point by Adam, from q = N(0, I), with a cosine schedule of the learning rate.

    ``log_joint`` (..., n, d) -> (..., n) in nats, float64. ELBO = E_q[log p(x, mean + L eps)] + entropy of q, which is
    closed; the expectation over eps by Gauss-Hermite quadrature (12 nodes per dimension, so for few dimensions), exact
    where log p is a polynomial. Without ``full_covariance`` the factor L is diagonal: mean-field.
    """
    nodes, weights = _gauss_hermite(dim)
    mean = torch.zeros(num_points, dim, dtype=torch.float64, requires_grad=True)
    log_scale = torch.zeros(num_points, dim, dtype=torch.float64, requires_grad=True)
    lower = torch.zeros(num_points, dim, dim, dtype=torch.float64, requires_grad=full_covariance)
    parameters = [mean, log_scale, *([lower] if full_covariance else [])]
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, num_steps)

    def elbo() -> Tensor:
        z = mean + torch.einsum("nij,sj->sni", _factor(log_scale, lower), nodes)
        entropy = log_scale.sum(-1) + 0.5 * dim * (1 + np.log(2 * np.pi))
        return weights @ log_joint(z) + entropy

    for done in range(1, num_steps + 1):
        optimiser.zero_grad()
        (-elbo().sum()).backward()
        optimiser.step()
        schedule.step()
        if on_step is not None:
            on_step(done)
    with torch.no_grad():
        return GaussianFit(mean.detach(), _factor(log_scale, lower), elbo())


def draw(fit: GaussianFit, count: int, generator: torch.Generator) -> Tensor:
    """``count`` independent draws of each data point's q. (count, n, d)."""
    noise = torch.randn(count, *fit.mean.shape, dtype=fit.mean.dtype, generator=generator)
    return fit.mean + torch.einsum("nij,snj->sni", fit.scale_tril, noise)


def _factor(log_scale: Tensor, lower: Tensor) -> Tensor:
    return torch.diag_embed(log_scale.exp()) + lower.tril(-1)


def _gauss_hermite(dim: int) -> tuple[Tensor, Tensor]:
    """Nodes (12^dim, dim) and weights (12^dim,) for expectations under N(0, I)."""
    points, weights = np.polynomial.hermite_e.hermegauss(NODES_PER_DIMENSION)
    axes = np.meshgrid(*[points] * dim, indexing="ij")
    products = np.meshgrid(*[weights / weights.sum()] * dim, indexing="ij")
    nodes = np.stack([axis.ravel() for axis in axes], axis=-1)
    return torch.from_numpy(nodes), torch.from_numpy(np.prod([p.ravel() for p in products], axis=0))
