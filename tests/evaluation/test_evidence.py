"""The evidence by importance samples about the mode: against closed form, a grid and annealing."""

import math

import pytest
import torch
from torch import Tensor, nn

from medlangevin.evaluation.decoder_likelihood import decoder_log_likelihood
from medlangevin.evaluation.evidence import ENOUGH, Evidence, evidence
from medlangevin.likelihoods import Bernoulli, Gaussian
from medlangevin.models import LatentVariableModel, base
from medlangevin.models.vae import VAE
from medlangevin.system.errors import MedlangevinError

SAMPLES = 400


class WrongEncoder(nn.Module):
    """Says that every image lies far out, and is sure of it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.new_full((len(x), self.size), 3.0), x.new_full((len(x), self.size), 1e-3)


def errors_of(estimate: Evidence, truth: Tensor) -> Tensor:
    """Of each image, in standard errors, which the effective sample size gives: Var(mean w) / E[w]^2."""
    return (estimate.log_likelihood - truth) / (1 / estimate.effective_sample_size - 1 / SAMPLES).sqrt()


def linear(size: int, outputs: int, *, images: int) -> tuple[LatentVariableModel, Tensor, Tensor]:
    """x = W z + 0.3 noise, images of it, and their exact log p(x)."""
    generator = torch.Generator().manual_seed(0)
    first = nn.Linear(size, outputs, bias=False, dtype=torch.float64)
    decoder = nn.Sequential(first, nn.Unflatten(1, (1, outputs)))
    first.weight.data = torch.randn(outputs, size, generator=generator, dtype=torch.float64)
    likelihood = Gaussian(0.3).double()
    likelihood.log_scale.data.fill_(math.log(0.3))
    weight = first.weight.detach()
    covariance = weight @ weight.T + 0.09 * torch.eye(outputs, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.zeros(outputs, dtype=torch.float64), covariance)
    x = torch.randn(images, outputs, generator=generator, dtype=torch.float64) @ law.scale_tril.T
    model = VAE(encoder=WrongEncoder(size), decoder=decoder, likelihood=likelihood, latent_dim=size)
    return model, x[:, None], law.log_prob(x)


# 4 standard errors for each image: no false alarm at 200 other seeds.
@pytest.mark.claim("evidence-at-the-mode")
@pytest.mark.parametrize(("size", "images"), [(3, 5), (32, 2)])
def test_a_linear_decoder_s_evidence_whatever_the_encoder(size, images):
    model, x, truth = linear(size, 40, images=images)
    estimate = evidence(model, x, torch.Generator().manual_seed(1), samples=SAMPLES)
    assert errors_of(estimate, truth).abs().max() < 4
    # A t with 8 degrees of freedom keeps 2/5 of a normal posterior's draws in 32 dimensions.
    assert estimate.effective_sample_size.min() > 0.3 * SAMPLES


@pytest.mark.claim("evidence-at-the-mode")
@pytest.mark.parametrize("likelihood", [Gaussian(0.2), Bernoulli()])
def test_an_mlp_decoder_s_evidence_is_that_of_a_grid(likelihood, mlp_case):
    model, x, truth = mlp_case(likelihood, WrongEncoder(2), activation="softplus", gain=10)
    estimate = evidence(model, x, torch.Generator().manual_seed(5), samples=SAMPLES)
    assert errors_of(estimate, truth).abs().max() < 4
    assert estimate.effective_sample_size.min() > ENOUGH


@pytest.mark.claim("evidence-at-the-mode")
@pytest.mark.slow(seconds=2)
def test_annealing_finds_the_same():
    model, x, _ = linear(3, 8, images=2)
    ours = evidence(model, x, torch.Generator().manual_seed(6), samples=SAMPLES)
    other = VAE(encoder=WrongEncoder(3), decoder=model.decoder, likelihood=model.likelihood, latent_dim=3)
    theirs = decoder_log_likelihood(other, x, torch.Generator().manual_seed(7), num_chains=32, num_temperatures=200)
    variance = 1 / ours.effective_sample_size + 1 / theirs.effective_sample_size
    assert ((ours.log_likelihood - theirs.log_likelihood).abs() < 4 * variance.sqrt()).all()


def test_draws_are_added_where_few_are_effective_and_memory_is_bounded(monkeypatch):
    model, x, truth = linear(32, 40, images=2)
    monkeypatch.setattr(base, "_ELEMENTS_PER_CHUNK", 40 * 7)
    most = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal most
        most = max(most, len(output))

    model.decoder.register_forward_hook(count)
    estimate = evidence(model, x, torch.Generator().manual_seed(8), samples=6)
    assert most <= 7
    assert estimate.effective_sample_size.min() > 6  # of 6 draws there cannot be more than 6
    assert (estimate.log_likelihood - truth).abs().max() < 2


def test_nonsense_is_refused():
    model, x, _ = linear(3, 8, images=1)
    with pytest.raises(MedlangevinError, match="0 samples"):
        evidence(model, x, samples=0)
    next(model.decoder.parameters()).data.fill_(torch.nan)
    with pytest.raises(MedlangevinError, match="no finite curvature"):
        evidence(model, x)
