"""What the tests of both ways to the decoder's likelihood share: a curved decoder whose log p(x) is known."""

import math
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from medlangevin.likelihoods import Bernoulli, Likelihood
from medlangevin.models import LatentVariableModel
from medlangevin.models.vae import VAE
from medlangevin.networks.ends import Output
from medlangevin.networks.mlp import MLPDecoder

Case = tuple[LatentVariableModel, Tensor, Tensor]


@pytest.fixture
def mlp_case() -> Callable[..., Case]:
    """``mlp_case(likelihood, encoder, activation=..., gain=...)``: a random MLP decoder of two latent numbers, one
    image, and log p(x) by a sum over a grid of 0.02 squared.

    ``gain``: layers start near the mean image, where x would say little of z.
    """

    def make(
        likelihood: Likelihood, encoder: nn.Module, *, activation: Literal["relu", "softplus"], gain: float
    ) -> Case:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            output: Output = "logit" if isinstance(likelihood, Bernoulli) else "probability"
            decoder = MLPDecoder(
                (1, 4, 2), 2, widths=(16, 16), activation=activation, layer_norm=False, output=output
            ).double()
        decoder.last.weight.data.mul_(gain)
        model = VAE(encoder=encoder, decoder=decoder, likelihood=likelihood.double(), latent_dim=2)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            z = torch.randn(1, 2, generator=generator, dtype=torch.float64)
            x = model.likelihood.sample(model.decoder(z), generator)
            axis = torch.arange(-6, 6, 0.02, dtype=torch.float64)
            log_joint = -model.potential(x.expand(len(axis) ** 2, -1, -1, -1))(torch.cartesian_prod(axis, axis))
        return model, x, log_joint.logsumexp(0) + 2 * math.log(0.02)

    return make
