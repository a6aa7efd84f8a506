"""exp(L) is unbiased for p(x) of a decoder that is not linear, with every likelihood: p(x) by a grid over d = 1."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medlangevin.likelihoods import Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Likelihood
from medlangevin.models import HVAE, IWAE, LAE, QSLVAE, VAE, Hoffman, LatentVariableModel, VAEFlow

SHAPE, SAMPLES = (1, 2, 2), 40_000
LIKELIHOODS: dict[str, Callable[[], Likelihood]] = {
    "gaussian": lambda: Gaussian(0.5),
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "discretized_logistic": lambda: DiscretizedLogistic(0.5),
}
FLOW: dict[str, Any] = {"num_steps": 3, "step_size": 0.15, "max_step_size": 0.5}


class Encoder(nn.Module):
    """A mean that depends on x; a scale near the prior's, wide enough for weights with thin tails."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = 0.3 * torch.tanh(self.dense(x.flatten(1)))
        return mean, torch.ones_like(mean)


def models(likelihood: Likelihood) -> dict[str, LatentVariableModel]:
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(1, 9), nn.Tanh(), nn.Linear(9, 4), nn.Unflatten(1, SHAPE))
    parts: dict[str, Any] = {"encoder": Encoder(), "decoder": decoder, "likelihood": likelihood, "latent_dim": 1}
    features = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    return {
        "vae": VAE(**parts),
        "vae_flow": VAEFlow(**parts, num_layers=3),
        "iwae": IWAE(**parts, num_samples=3),
        "hvae none": HVAE(**parts, **FLOW),
        "hvae fixed": HVAE(**parts, **FLOW, tempering="fixed", initial_temperature=1.3),
        "hvae free": HVAE(**parts, **FLOW, tempering="free", initial_temperature=1.3),
        "qsl flow": QSLVAE(**parts, **FLOW, bound="flow", damping=0.4, noise_scale=0.3, initial_temperature=1.2),
        "qsl annealed": QSLVAE(**parts, **FLOW, damping=1.3),
        "hoffman": Hoffman(**parts, num_steps=2, step_size=0.01),
        "lae": LAE(features=features, decoder=decoder, likelihood=likelihood, latent_dim=1, num_features=3, scale=1.0),
    }


@torch.no_grad()
def log_evidence(model: LatentVariableModel, x: Tensor) -> Tensor:
    z = torch.linspace(-9, 9, 8001, dtype=torch.float64)[:, None]
    log_joint = -model.potential(x.expand(len(z), *SHAPE))(z)
    return log_joint.logsumexp(0) + math.log(18 / 8000)  # the trapezoidal rule: exact for what vanishes at both ends


# False alarms: 40 checks at 3.5 standard errors, 2 % for the whole file over seeds; the seed is fixed.
@pytest.mark.slow
@pytest.mark.claim("evidence-on-a-grid")
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_weights_are_unbiased_for_the_evidence_of_a_neural_decoder(likelihood):
    x = torch.tensor([[[[0, 1], [1, 0]]]], dtype=torch.float64)
    if likelihood != "bernoulli":
        x = (255 * (0.2 + 0.5 * x)).round() / 255
    for name, model in models(LIKELIHOODS[likelihood]()).items():
        model.double()
        draws = model.log_weights(x.expand(SAMPLES, *SHAPE), torch.Generator().manual_seed(1))
        weights = (draws - draws.max()).exp()
        error = (draws.max() + weights.mean().log() - log_evidence(model, x)).item()
        standard_error = (weights.std() / weights.mean()).item() / math.sqrt(SAMPLES)
        assert standard_error < 0.02, name
        assert abs(error) < 3.5 * standard_error, (name, error, standard_error)
