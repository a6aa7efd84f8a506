"""A model of one's own: a VAE whose likelihood has heavy tails, so that an artefact pulls the mean image less.

The command line finds it where the environment names this file, for training as well as for using the run:

    export MEDLANGEVIN_PLUGINS=examples/own_model.py
    medlangevin train config.yaml
    medlangevin evaluate runs/robust

with a config.yaml such as

    name: robust
    model: {kind: robust_vae, latent_dim: 32, degrees: 4}

In Python importing this file is enough: ``medlangevin.training.train.train(config)`` then knows the kind, and so do
tables of benchmarks.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from medlangevin.config.fields import Integer
from medlangevin.config.model import ModelConfig
from medlangevin.config.networks import GaussianLikelihood
from medlangevin.likelihoods import Likelihood, sum_elements
from medlangevin.models import VAE, autoencoder, register
from medlangevin.system.random import standard_normal


class RobustVAEConfig(ModelConfig):
    """The settings of the kind robust_vae: those of every model, and ``degrees``."""

    kind: Annotated[Literal["robust_vae"], Field(description="VAE with a Student-t likelihood.")] = "robust_vae"
    # Its initial_scale is that of the Student-t; other likelihoods are refused.
    likelihood: Annotated[GaussianLikelihood, Field(description="The scale at first.")] = GaussianLikelihood()
    degrees: Annotated[Integer, Field(ge=1, le=100, description="Degrees of freedom, 1 to 100; few: heavy tails.")] = 4


class StudentT(Likelihood):
    """Independent Student-t distributions about the mean image; one learned scale for all elements."""

    def __init__(self, initial_scale: float, degrees: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))
        self.degrees = degrees

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Sum over elements of the log density, (N,) float64, in nats."""
        half, log_scale = (self.degrees + 1) / 2, self.log_scale.double()
        constant = math.lgamma(half) - math.lgamma(self.degrees / 2) - 0.5 * math.log(self.degrees * math.pi)
        deviation = (x - output) / log_scale.exp()
        return x[0].numel() * (constant - log_scale) - half * sum_elements((deviation**2 / self.degrees).log1p())

    def mean(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The output plus noise: a normal over the root of a mean of ``degrees`` squared normals."""
        noise, *others = (
            standard_normal(tuple(output.shape), like=output, generator=generator) for _ in range(self.degrees + 1)
        )
        return output + self.log_scale.exp() * noise / torch.stack(others).square().mean(0).sqrt()

    def whiten(self, x: Tensor, output: Tensor, tangents: Tensor) -> Tensor:
        """Tangents times the root of Fisher's information, (degrees + 1) / (degrees + 3) / scale^2."""
        return tangents * math.sqrt((self.degrees + 1) / (self.degrees + 3)) / self.log_scale.exp()


def robust_vae(
    config: RobustVAEConfig, image_shape: tuple[int, ...], mean_image: Tensor | None, data_size: int | None
) -> VAE:
    """The encoder and the decoder that the configuration names, with the likelihood above."""
    parts = autoencoder(config, image_shape, mean_image, data_size)
    return VAE(**parts | {"likelihood": StudentT(config.likelihood.initial_scale, config.degrees)})


register(RobustVAEConfig, robust_vae)
