"""Target densities with known moments, and errors of samples in Monte-Carlo standard errors."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor


class Target(NamedTuple):
    """A density in two dimensions: its potential, exact draws from it, and what is known of it in closed form."""

    potential: Callable[[Tensor], Tensor]
    draw: Callable[[int, torch.Generator], Tensor]
    mean: Tensor
    covariance: Tensor
    mass_right: float  # probability that the first coordinate is positive

    def errors(self, positions: Tensor, covariance: Tensor | None = None) -> Tensor:
        """Errors of six statistics of independent chains (chains, draws, 2), each in its own standard error.

        Two means, three entries of the covariance (about the known mean, against ``covariance`` if given) and the mass
        on the right. Chains are independent, so the spread of the chains' averages gives the standard error, whatever
        the correlation within a chain.
        """
        expected = self.covariance if covariance is None else covariance
        centred = positions - self.mean
        products = torch.stack(
            [centred[..., i] * centred[..., j] - expected[i, j] for i, j in ((0, 0), (0, 1), (1, 1))]
        )
        right = (positions[..., :1] > 0).to(positions.dtype) - self.mass_right
        averages = torch.cat([centred, products.movedim(0, -1), right], dim=-1).mean(1)
        return averages.mean(0) / (averages.std(0) / math.sqrt(len(averages)))


def _below(x: float) -> float:
    """Probability that a standard normal lies below x."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


@pytest.fixture(scope="session")
def correlated() -> Target:
    """N((1, -0.5), [[0.7, 0.6], [0.6, 0.8]])."""
    mean = torch.tensor([1.0, -0.5], dtype=torch.float64)
    covariance = torch.tensor([[0.7, 0.6], [0.6, 0.8]], dtype=torch.float64)
    precision, factor = torch.linalg.inv(covariance), torch.linalg.cholesky(covariance)

    def potential(z: Tensor) -> Tensor:
        return 0.5 * ((z - mean) @ precision * (z - mean)).sum(-1)

    def draw(count: int, generator: torch.Generator) -> Tensor:
        return mean + torch.randn(count, 2, generator=generator, dtype=torch.float64) @ factor.T

    return Target(potential, draw, mean, covariance, _below(1.0 / math.sqrt(0.7)))


@pytest.fixture(scope="session")
def two_modes() -> Target:
    """0.3 N(-m, 0.5^2 I) + 0.7 N(m, 0.5^2 I), m = (1.1, 0.5): the modes are 4.8 standard deviations apart."""
    offset, variance = torch.tensor([1.1, 0.5], dtype=torch.float64), 0.25
    mean = 0.4 * offset
    covariance = variance * torch.eye(2, dtype=torch.float64) + 0.84 * torch.outer(offset, offset)

    def potential(z: Tensor) -> Tensor:
        left = math.log(0.3) - (z + offset).square().sum(-1) / (2 * variance)
        return -torch.logaddexp(left, math.log(0.7) - (z - offset).square().sum(-1) / (2 * variance))

    def draw(count: int, generator: torch.Generator) -> Tensor:
        side = torch.where(torch.rand(count, 1, generator=generator) < 0.3, -1.0, 1.0)
        return side * offset + 0.5 * torch.randn(count, 2, generator=generator, dtype=torch.float64)

    return Target(potential, draw, mean, covariance, 0.3 * _below(-2.2) + 0.7 * _below(2.2))


class CountingPotential:
    """A potential that counts the values and the gradients asked of it."""

    def __init__(self, potential: Callable[[Tensor], Tensor]) -> None:
        self.potential = potential
        self.values = 0
        self.gradients = 0

    def __call__(self, z: Tensor) -> Tensor:
        self.values += 1
        if z.requires_grad:
            z = z.clone()
            z.register_hook(self._count)
        return self.potential(z)

    def _count(self, gradient: Tensor) -> None:
        self.gradients += 1


@pytest.fixture(scope="session")
def counting() -> type[CountingPotential]:
    return CountingPotential


@pytest.fixture(scope="session")
def quartic() -> Callable[[Tensor], Tensor]:
    """A potential (..., d) -> (...,) whose force is not linear and couples the dimensions."""

    def potential(z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(-1) + 0.25 * z.square().sum(-1).square() + torch.sin(z.sum(-1))

    return potential
