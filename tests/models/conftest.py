"""All models from their parts, and a linear-Gaussian one: the case where log p(x) and the posterior are known."""

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from medlangevin.likelihoods import Gaussian
from medlangevin.models import LatentVariableModel
from medlangevin.models.hoffman import Hoffman
from medlangevin.models.hvae import HVAE
from medlangevin.models.iwae import IWAE
from medlangevin.models.qsl_vae import QSLVAE
from medlangevin.models.refined import VAEFlow
from medlangevin.models.vae import VAE

LATENT_DIM, OUTPUTS, SCALE = 4, 6, 0.7


STEPS = {"num_steps": 3, "step_size": 0.05, "max_step_size": 0.5}
SETTINGS: dict[str, tuple[type[LatentVariableModel], dict[str, Any]]] = {
    "vae": (VAE, {}),
    "vae_flow": (VAEFlow, {"num_layers": 3}),
    "iwae": (IWAE, {"num_samples": 5}),
    "hvae": (HVAE, STEPS),
    "qsl_vae": (QSLVAE, {**STEPS, "bound": "flow"}),
    "annealed": (QSLVAE, {**STEPS, "bound": "annealed", "damping": 1.0}),
    "hoffman": (Hoffman, {"num_steps": 2, "step_size": 0.05}),
}


def assemble_model(kind: str, **settings) -> LatentVariableModel:
    """A float64 model of these parts with small defaults; ``annealed`` is the QSL-VAE with that bound."""
    model, defaults = SETTINGS[kind]
    return model(**{**defaults, **settings}).double()


@pytest.fixture(scope="session")
def assemble():
    return assemble_model


class Linear(nn.Module):
    """x = W z + b."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.weight.T + self.bias


class LinearEncoder(nn.Module):
    """q(z | x) with the exact mean and 1.1 times the exact marginal scales, wide enough for weights with thin tails."""

    def __init__(self, gain: Tensor, bias: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.gain, self.bias, self.scale = nn.Parameter(gain), nn.Parameter(bias), nn.Parameter(scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.bias) @ self.gain.T, self.scale.expand(len(x), -1)


class LinearGaussian(NamedTuple):
    encoder: LinearEncoder
    decoder: Linear
    likelihood: Gaussian
    x: Tensor
    log_evidence: Tensor

    def model(self, kind: str, **settings) -> LatentVariableModel:
        parts = {"encoder": self.encoder, "decoder": self.decoder, "likelihood": self.likelihood}
        return assemble_model(kind, latent_dim=LATENT_DIM, **parts, **settings)


@pytest.fixture
def linear_gaussian() -> LinearGaussian:
    generator = torch.Generator().manual_seed(0)
    weight = 0.6 * torch.randn(OUTPUTS, LATENT_DIM, generator=generator, dtype=torch.float64)
    bias = torch.randn(OUTPUTS, generator=generator, dtype=torch.float64)
    x = bias + torch.randn(1, OUTPUTS, generator=generator, dtype=torch.float64)
    precision = torch.eye(LATENT_DIM, dtype=torch.float64) + weight.T @ weight / SCALE**2
    encoder = LinearEncoder(
        torch.linalg.solve(precision, weight.T) / SCALE**2,
        bias.clone(),
        1.1 * torch.linalg.inv(precision).diagonal().sqrt(),
    )
    covariance = weight @ weight.T + SCALE**2 * torch.eye(OUTPUTS, dtype=torch.float64)
    evidence = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)
    likelihood = Gaussian(SCALE).double()
    # The stored scale was rounded to float32; the exact evidence needs the exact one.
    likelihood.log_scale.data.fill_(math.log(SCALE))
    return LinearGaussian(encoder, Linear(weight, bias), likelihood, x, evidence)
